//! The port does not close over leaders.

use startup_gate::Serving;

async fn wrong(serving: Serving<u32>) {
    let _ = serving.drain(async {}).await.close(async {}).await;
}

fn main() {}
