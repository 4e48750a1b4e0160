//! Nothing is released before it is flushed.

use startup_gate::{Down, state};

async fn wrong(down: Down<u32, state::Flush>) {
    let _ = down.unload(async {}).await;
}

fn main() {}
