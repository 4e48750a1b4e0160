//! Nor by the function that the gate uses.

use startup_gate::{CampaignRight, ServeRight, VoteRight};

fn main() {
    let _ = VoteRight::mint(1_u32);
    let _ = CampaignRight::mint(1_u32);
    let _ = ServeRight::mint();
}
