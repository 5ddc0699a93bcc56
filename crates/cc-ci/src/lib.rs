//! cc-ci: the CI and upgrade robot for Co-op Cloud recipes.
