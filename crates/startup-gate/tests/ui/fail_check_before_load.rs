//! There is nothing to check before load.

use startup_gate::{Startup, state};

async fn wrong(startup: Startup<u32, state::Load>) {
    let _ = startup.check(async { Ok(()) }).await;
}

fn main() {}
