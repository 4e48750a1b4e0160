//! The port cannot open first of all.

use startup_gate::{Startup, state};

async fn wrong(startup: Startup<u32, state::Load>) {
    let _ = startup.listen(|_right| async { Ok(()) }).await;
}

fn main() {}
