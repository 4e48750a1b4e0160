//! A ticket gives one right to vote.

use startup_gate::LoadTicket;

fn wrong(ticket: LoadTicket<u32>) {
    let _ = ticket.log_readable();
    let _ = ticket.log_readable();
}

fn main() {}
