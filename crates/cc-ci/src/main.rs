//! The program `cc-ci`.
fn main() {}
