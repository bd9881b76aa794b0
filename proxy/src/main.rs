//! Three lines, once there is a life story to run.

fn main() {}
