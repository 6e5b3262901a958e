//! strait-demo
fn main() {}
