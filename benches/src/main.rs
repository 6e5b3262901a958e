//! strait-benches
fn main() {}
