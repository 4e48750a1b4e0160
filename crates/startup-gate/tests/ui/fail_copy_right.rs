//! Rights cannot be copied.

use startup_gate::{CampaignRight, ServeRight, VoteRight};

fn wrong(vote: &VoteRight<u32>, campaign: &CampaignRight<u32>, serve: &ServeRight) {
    let _: (VoteRight<u32>, CampaignRight<u32>, ServeRight) =
        (vote.clone(), campaign.clone(), serve.clone());
}

fn main() {}
