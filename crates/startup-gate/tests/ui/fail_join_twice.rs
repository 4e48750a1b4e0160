//! The ticket of a join gives one right to vote.

use startup_gate::JoinTicket;

fn wrong(ticket: JoinTicket<u32>) {
    let _ = ticket.log_readable();
    let _ = ticket.log_readable();
}

fn main() {}
