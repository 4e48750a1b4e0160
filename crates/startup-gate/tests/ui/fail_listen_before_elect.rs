//! The port cannot open before elect.

use startup_gate::{Startup, state};

async fn wrong(startup: Startup<u32, state::Elect<u32>>) {
    let _ = startup.listen(|_right| async { Ok(()) }).await;
}

fn main() {}
