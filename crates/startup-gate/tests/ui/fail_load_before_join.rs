//! A load that needs the right to vote cannot begin without a join that took it.

use startup_gate::{LoadTicket, Startup, UnitSpec, VoteRight, state};

async fn wrong(startup: Startup<u32, state::Load>) {
    let load = |_: LoadTicket<u32>, _: VoteRight<u32>| async { Ok(()) };
    let _ = startup.load([UnitSpec::new(1)], load, |_, ()| async { Ok(()) }).await;
}

fn main() {}
