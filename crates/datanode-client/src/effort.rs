//! The effort that one call is worth: who was asked, what failed, how much time
//! is left.

use std::time::{Duration, Instant};

use partition_types::Reason;

use crate::call::{Core, Target};
use crate::endpoint::Address;
use crate::error::{Detail, Error, GivenUp};
use crate::pick::Picker;
use crate::retry::{AttemptError, BackOff, Verdict};

/// The least that an attempt gets: one of no time at all proves nothing.
const ATTEMPT_TIMEOUT_MIN: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(crate) struct Effort {
    target: Target,
    started: Instant,
    deadline: Instant,
    attempts: u32,
    /// An attempt may have reached the log although nobody said so.
    maybe_applied: bool,
    /// The longest pause that a node of this round asked for.
    asked_pause: Option<Duration>,
    /// What to say at the end: an answer tells more than a lost connection.
    told: Option<Detail>,
    candidates: Vec<Address>,
    picker: Picker,
    back_off: BackOff,
}

impl Effort {
    pub(crate) fn new(core: &Core, target: Target) -> Self {
        let started = Instant::now();
        Self {
            target,
            started,
            deadline: started + core.config.timeout,
            attempts: 0,
            maybe_applied: false,
            asked_pause: None,
            told: None,
            candidates: core.candidates(target),
            picker: Picker::default(),
            back_off: BackOff::new(core.config.back_off_min, core.config.back_off_max),
        }
    }

    /// Whom to ask now, and how long to wait for the answer.
    pub(crate) fn next_attempt(&mut self, core: &Core) -> (Address, Duration) {
        self.attempts += 1;
        let address = self.picker.pick(&self.candidates, &core.pool).unwrap_or_else(|| {
            self.next_round(core);
            self.picker.pick(&self.candidates, &core.pool).expect("there is at least one seed")
        });
        let timeout = core.attempt_timeout(self.target, self.deadline).max(ATTEMPT_TIMEOUT_MIN);
        (address, timeout)
    }

    /// Things moved: the deadline counts from now.
    pub(crate) fn progressed(&mut self, core: &Core) {
        self.deadline = Instant::now() + core.config.timeout;
        self.back_off.reset();
    }

    /// Digests a failed attempt: returns, after a pause where one is due, when
    /// another should be made.
    ///
    /// # Errors
    /// The call's error when it is pointless to go on, or the time is up.
    pub(crate) async fn failed(
        &mut self,
        core: &Core,
        address: &Address,
        error: AttemptError,
    ) -> Result<(), Error> {
        self.maybe_applied |= error.maybe_applied();
        let verdict = error.verdict();
        if verdict == Verdict::GiveUp {
            // A repeat answers with the first outcome, so this answer settles
            // it, unless the repeat was turned away before it was looked up.
            let unsettled = error.maybe_applied()
                || (self.maybe_applied && error.reason() == Some(Reason::DiskFull));
            let detail = self.detail(core, address, error);
            return Err(Error::new(detail).of_change(self.target.request_id(), unsettled));
        }
        self.note(core, address, &error);
        self.asked_pause = self.asked_pause.max(error.retry_after());
        let detail = self.detail(core, address, error);
        let tells_more = matches!(detail, Detail::Answer(_) | Detail::FrameChecksum { .. });
        if tells_more || self.told.is_none() {
            self.told = Some(detail);
        }
        if verdict == Verdict::Pause || self.round_is_over() {
            self.pause(core).await?;
        } else if Instant::now() >= self.deadline {
            return Err(self.give_up());
        }
        Ok(())
    }

    /// Keeps what the failure says about the node and the leader.
    fn note(&mut self, core: &Core, address: &Address, error: &AttemptError) {
        let partition_id = self.target.partition_id();
        if error.is_about_the_connection() {
            core.pool.shun(address);
        }
        if let Some(partition_id) = partition_id {
            let leads_no_more =
                error.verdict() == Verdict::OtherNode || error.reason() == Some(Reason::NoLeader);
            if leads_no_more {
                core.routes.leader_is_not(partition_id, address);
            }
            if let Some(leader) = error.leader_hint() {
                core.routes.leader_is(partition_id, leader.clone());
                self.picker.redirect(address, leader);
            }
        }
    }

    fn round_is_over(&mut self) -> bool {
        !self.picker.has_next(&self.candidates)
    }

    async fn pause(&mut self, core: &Core) -> Result<(), Error> {
        let pause = self.back_off.next(self.asked_pause.take());
        if Instant::now() + pause >= self.deadline {
            return Err(self.give_up());
        }
        tokio::time::sleep(pause).await;
        self.next_round(core);
        Ok(())
    }

    fn next_round(&mut self, core: &Core) {
        self.picker.next_round();
        self.candidates = core.candidates(self.target);
    }

    fn give_up(&mut self) -> Error {
        let given_up = GivenUp { attempts: self.attempts, after: self.started.elapsed() };
        let detail = self.told.take().unwrap_or(Detail::Protocol("no attempt was made"));
        Error::new(detail)
            .of_change(self.target.request_id(), self.maybe_applied)
            .given_up(given_up)
    }

    /// The error of a call that is not to be repeated.
    pub(crate) fn settle(&self, core: &Core, address: &Address, error: AttemptError) -> Error {
        let unsettled = self.maybe_applied || error.maybe_applied();
        let detail = self.detail(core, address, error);
        Error::new(detail).of_change(self.target.request_id(), unsettled)
    }

    fn detail(&self, core: &Core, address: &Address, error: AttemptError) -> Detail {
        let address = address.to_string();
        match error {
            AttemptError::Answer(answer) => Detail::Answer(answer),
            AttemptError::Connect(message) => Detail::Connect { address, message },
            AttemptError::Transport(message) => Detail::Transport { address, message },
            AttemptError::TimedOut => {
                let after = core.config.attempt_timeout.min(self.started.elapsed());
                Detail::AttemptTimeout { address, after }
            }
            AttemptError::Nonsense(what) => Detail::Protocol(what),
            AttemptError::Frame { offset, expected, actual } => {
                Detail::FrameChecksum { offset, expected, actual }
            }
        }
    }
}
