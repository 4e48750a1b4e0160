//! Rights cannot be made outside of the gate.

use startup_gate::{CampaignRight, ServeRight, VoteRight};

fn main() {
    let _ = VoteRight { unit: 1_u32 };
    let _ = CampaignRight { unit: 1_u32 };
    let _ = ServeRight { _minted: () };
}
