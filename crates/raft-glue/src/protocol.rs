//! What the host decides about leadership, as pure functions: plain data in,
//! decisions out. No openraft, no clock, no lock, no task; the host asks these
//! functions, and so does the model checker (`cluster-sim`), so that what is
//! checked is what runs.
//!
//! | question | answered by |
//! |---|---|
//! | may this replica lead, and does this path to it pass? | [`Fence`] |
//! | may its election timer run? does it take over? | [`timer_may_run`], [`may_take_over`] |
//! | what does it do when its timer is due? | [`Timed::due`] |
//! | may its group sleep? does it agree to? | [`Idle::may_sleep`], [`Told::agrees`] |
//! | what does it say when it is asked for the leader? | [`Standing::answer`] |
//! | what follows from the answers of the others? | [`Poll::verdict`] |
//! | is this replica its group's no longer? | [`Roll::leaves_out`], [`Memory::is_outlived`] |
//! | is it this replica's turn to campaign? | [`campaign_is_due`] |
//! | whom may a leader tell to take over? | [`choose_target`] |
//! | is the handing over finished? | [`drain_goes_on`] |
//! | which group is brought into memory next, and which leaves it? | [`Line`], [`Leaving::may_leave`], [`Left::wants_warm_up`] |
//! | was a leadership taken behind a closed port? | [`Leadership`] |

mod activation;
mod campaign;
mod fence;
mod leadership;
mod poll;
mod removal;
mod sleep;
mod standing;
mod timer;
mod transfer;

pub use activation::{Cause, Leaving, Left, Line};
pub use campaign::{CAMPAIGN_PAUSE, campaign_delay, campaign_is_due, may_campaign_on_return};
pub use fence::{Fence, Pass, Path, may_take_over, timer_may_run};
pub use leadership::{Leadership, LeadershipChange};
pub use poll::{Poll, Verdict, Voice, has_waited_long};
pub use removal::{Memory, Roll};
pub use sleep::{Idle, Told, hears_out_pre_vote};
pub use standing::{Answer, Standing};
pub use timer::{Due, Timed, draw_timeout, mix};
pub use transfer::{Follower, LAG_MAX, Target, choose_target, drain_goes_on, order_followers};
