//! Nobody campaigns before the barrier.

use startup_gate::{Startup, state};

async fn wrong(startup: Startup<u32, state::Check>) {
    let _ = startup.elect(drop, |_| async { Ok(()) }).await;
}

fn main() {}
