//! forge-sim
