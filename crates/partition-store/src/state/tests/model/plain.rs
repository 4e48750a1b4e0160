//! The rules of extents, over plain byte vectors.

use std::collections::{BTreeMap, HashMap, VecDeque};

use partition_types::{Crc32c, Deleted, ExtentId, Op, Outcome, Rejection, RequestId};

use super::acts::{Act, Len, Where};
use super::time::Time;
use crate::testing::{append, bytes, delete, extent, publish, put, stage_part, write};

#[derive(Debug, Clone, Default)]
pub(super) struct ModelExtent {
    /// `None` where nothing was written yet.
    pub(super) bytes: Vec<Option<u8>>,
    pub(super) is_staged: bool,
    pub(super) is_sealed: bool,
    pub(super) modified_at_ms: u64,
}

impl ModelExtent {
    pub(super) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) fn whole(&self) -> Option<Vec<u8>> {
        self.bytes.iter().copied().collect()
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let begin = usize::try_from(offset).expect("the model holds small extents");
        let end = begin + data.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, None);
        }
        for (to, from) in self.bytes[begin..end].iter_mut().zip(data) {
            *to = Some(*from);
        }
    }
}

/// The same rules, over byte vectors.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) extents: BTreeMap<u64, ModelExtent>,
    pub(super) last_id: u64,
    pub(super) latest_at_ms: u64,
    pub(super) time: Time,
    pub(super) outcomes: HashMap<RequestId, Outcome>,
    pub(super) order: VecDeque<(RequestId, u64)>,
}

impl Model {
    fn resolve(&self, id: u64, place: Where) -> u64 {
        let size = self.extents.get(&id).map_or(0, ModelExtent::size);
        match place {
            Where::Eighths(eighths) => size / 8 * u64::from(eighths),
            Where::Inside(part, more) => (size / 16 * u64::from(part) + u64::from(more)).min(size),
            Where::End => size,
            Where::Beyond(more) => size + u64::from(more),
            Where::Greatest => u64::MAX,
        }
    }

    fn len(&self, id: u64, len: Len) -> usize {
        let size = self.extents.get(&id).map_or(0, |extent| extent.bytes.len());
        match len {
            Len::Bytes(len) => len,
            Len::Eighths(eighths) => size / 8 * usize::from(eighths),
        }
    }

    /// What an act is as a command on the model's state.
    pub(super) fn op(&self, act: &Act) -> Op {
        match act {
            Act::Create => Op::Create,
            Act::Put(seed, len) => put(&bytes(*seed, *len)),
            Act::Append(id, seed, len) => append(*id, &bytes(*seed, *len)),
            Act::Write(id, place, seed, len) => {
                write(*id, self.resolve(*id, *place), &bytes(*seed, self.len(*id, *len)))
            }
            Act::Seal(id) => Op::Seal { extent_id: extent(*id) },
            Act::Delete(ids) => delete(ids),
            Act::Stage => Op::Stage,
            Act::StagePart(id, place, seed, len) => {
                stage_part(*id, self.resolve(*id, *place), &bytes(*seed, self.len(*id, *len)))
            }
            Act::Publish(id, is_true) => {
                let whole = self.extents.get(id).and_then(ModelExtent::whole).unwrap_or_default();
                publish(*id, if *is_true { &whole } else { b"something else" })
            }
            Act::ExpireStaged(ago_ms) => {
                Op::ExpireStaged { before_ms: self.latest_at_ms.saturating_sub(*ago_ms) }
            }
        }
    }

    pub(super) fn apply(&mut self, request_id: Option<RequestId>, at_ms: u64, op: &Op) -> Outcome {
        self.latest_at_ms = self.latest_at_ms.max(at_ms);
        let known = request_id.and_then(|id| self.outcomes.get(&id).cloned());
        let outcome = match known {
            Some(known) => known,
            None => {
                let outcome = self.apply_op(at_ms, op).unwrap_or_else(Outcome::Rejected);
                if let Some(id) = request_id {
                    self.time.applies(id);
                    self.outcomes.insert(id, outcome.clone());
                    self.order.push_back((id, self.time.window_ms()));
                }
                outcome
            }
        };
        for _ in 0..16 {
            match self.order.front() {
                Some((id, at_ms)) if at_ms + 900_000 < self.time.window_ms() => {
                    self.outcomes.remove(id);
                    self.order.pop_front();
                }
                _ => break,
            }
        }
        outcome
    }

    fn apply_op(&mut self, at_ms: u64, op: &Op) -> Result<Outcome, Rejection> {
        Ok(match op {
            Op::Create => Outcome::Created { extent_id: self.make(at_ms, false) },
            Op::Stage => Outcome::Created { extent_id: self.make(at_ms, true) },
            Op::Put { data, crc32c } => {
                let extent_id = self.make(at_ms, false);
                let made = self.extents.get_mut(&extent_id.get()).expect("just made");
                made.write(0, data);
                made.is_sealed = true;
                Outcome::Stored { extent_id, size: made.size(), crc32c: *crc32c }
            }
            Op::Append { extent_id, data, .. } => {
                let offset = self.find(*extent_id, false)?.size();
                self.write(at_ms, *extent_id, offset, data)?
            }
            Op::Write { extent_id, offset, data, .. } => {
                self.write(at_ms, *extent_id, *offset, data)?
            }
            Op::Seal { extent_id } => {
                let found = self.find(*extent_id, false)?;
                if !found.is_sealed {
                    found.is_sealed = true;
                    found.modified_at_ms = at_ms;
                }
                let whole = found.whole().expect("visible extents have no gaps");
                Outcome::Sealed { size: found.size(), crc32c: Crc32c::of(&whole) }
            }
            Op::Delete { extent_ids } => {
                let mut gone = |&extent_id: &ExtentId| Deleted {
                    extent_id,
                    found: self.extents.remove(&extent_id.get()).is_some(),
                };
                Outcome::Deleted(extent_ids.iter().map(&mut gone).collect())
            }
            Op::StagePart { extent_id, offset, data, .. } => {
                let found = self.find(*extent_id, true)?;
                if offset.checked_add(data.len() as u64).is_none() {
                    return Err(Rejection::TooLarge(*extent_id));
                }
                found.write(*offset, data);
                found.modified_at_ms = found.modified_at_ms.max(at_ms);
                Outcome::Written { offset: *offset, size: found.size() }
            }
            Op::Publish { extent_id, size, crc32c } => {
                let found = self.find(*extent_id, true)?;
                let whole = found.whole().filter(|whole| whole.len() as u64 == *size);
                if whole.is_none_or(|whole| Crc32c::of(&whole) != *crc32c) {
                    return Err(Rejection::StagedMismatch(*extent_id));
                }
                found.is_staged = false;
                found.is_sealed = true;
                found.modified_at_ms = at_ms;
                Outcome::Stored { extent_id: *extent_id, size: *size, crc32c: *crc32c }
            }
            Op::ExpireStaged { before_ms } => {
                let old = |e: &ModelExtent| e.is_staged && e.modified_at_ms < *before_ms;
                let gone: Vec<u64> =
                    self.extents.iter().filter(|(_, e)| old(e)).map(|(id, _)| *id).collect();
                self.extents.retain(|_, e| !old(e));
                let deleted = |id| Deleted { extent_id: extent(id), found: true };
                Outcome::Deleted(gone.into_iter().map(deleted).collect())
            }
        })
    }

    fn make(&mut self, at_ms: u64, is_staged: bool) -> ExtentId {
        self.last_id += 1;
        let made = ModelExtent { is_staged, modified_at_ms: at_ms, ..ModelExtent::default() };
        self.extents.insert(self.last_id, made);
        extent(self.last_id)
    }

    fn find(&mut self, id: ExtentId, is_staged: bool) -> Result<&mut ModelExtent, Rejection> {
        self.extents
            .get_mut(&id.get())
            .filter(|found| found.is_staged == is_staged)
            .ok_or(Rejection::ExtentNotFound(id))
    }

    fn write(
        &mut self,
        at_ms: u64,
        id: ExtentId,
        offset: u64,
        data: &[u8],
    ) -> Result<Outcome, Rejection> {
        let found = self.find(id, false)?;
        if found.is_sealed {
            return Err(Rejection::ExtentSealed(id));
        }
        let size = found.size();
        if offset > size {
            return Err(Rejection::OffsetOutOfRange { extent_id: id, offset, size });
        }
        found.write(offset, data);
        found.modified_at_ms = at_ms;
        Ok(Outcome::Written { offset, size: found.size() })
    }
}
