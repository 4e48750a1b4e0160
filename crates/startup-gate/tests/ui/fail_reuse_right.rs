//! A right that was given away is gone.

use startup_gate::{CampaignRight, ServeRight};

fn lead(_right: CampaignRight<u32>) {}
fn listen(_right: ServeRight) {}

fn wrong(campaign: CampaignRight<u32>, serve: ServeRight) {
    lead(campaign);
    lead(campaign);
    listen(serve);
    listen(serve);
}

fn main() {}
