//! The right to vote is not the right to campaign.

use startup_gate::{CampaignRight, LoadTicket};

fn lead(_right: CampaignRight<u32>) {}

fn wrong(ticket: LoadTicket<u32>) -> Result<(), startup_gate::UnitFault> {
    lead(ticket.log_readable()?);
    Ok(())
}

fn main() {}
