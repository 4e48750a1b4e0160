//! There is no way back once the port is closed.

use startup_gate::{Down, state};

fn wrong(down: Down<u32, state::Flush>) {
    let _ = down.resume();
}

fn main() {}
