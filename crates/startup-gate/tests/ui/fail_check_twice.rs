//! A stage is passed once.

use startup_gate::{Startup, state};

async fn wrong(startup: Startup<u32, state::Check>) {
    let _ = startup.check(async { Ok(()) }).await;
    let _ = startup.check(async { Ok(()) }).await;
}

fn main() {}
