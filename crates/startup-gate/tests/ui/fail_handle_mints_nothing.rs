//! The view that everybody holds grants nothing.

use startup_gate::Handle;

fn wrong(handle: &Handle<u32>) {
    let _ = handle.admission();
    let _ = handle.admit(1, 0);
}

fn main() {}
