//! Which node to ask next: each one once a round, those that just refused last.

use crate::endpoint::{Address, Pool};

/// The nodes a call has asked in this round.
#[derive(Debug, Default)]
pub(crate) struct Picker {
    asked: Vec<Address>,
    redirect: Option<Address>,
    redirects: u32,
}

/// A leader that moves faster than this is worth a pause.
const REDIRECTS_MAX: u32 = 3;

impl Picker {
    /// The next one to ask: where the last one sent us, else the first of
    /// `candidates` that was not asked in this round. `None`: the round is over.
    pub(crate) fn pick(&mut self, candidates: &[Address], pool: &Pool) -> Option<Address> {
        let picked = self.redirect.take().or_else(|| {
            let fresh = || candidates.iter().filter(|address| !self.asked.contains(address));
            fresh().find(|address| !pool.is_shunned(address)).or_else(|| fresh().next()).cloned()
        })?;
        self.asked.push(picked.clone());
        Some(picked)
    }

    /// Whether the round goes on.
    pub(crate) fn has_next(&self, candidates: &[Address]) -> bool {
        self.redirect.is_some() || candidates.iter().any(|address| !self.asked.contains(address))
    }

    /// A node named the leader: ask it next, if it is not the one that said so.
    pub(crate) fn redirect(&mut self, from: &Address, to: Address) {
        if *from != to && self.redirects < REDIRECTS_MAX {
            self.redirects += 1;
            self.redirect = Some(to);
        }
    }

    /// Starts the next round.
    pub(crate) fn next_round(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ClientConfig;

    #[test]
    fn asks_everybody_once_a_round_and_follows_redirects() {
        let nodes: Vec<_> =
            (1..=3).map(|n| Address::parse(&format!("node:{n}")).unwrap()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _guard = runtime.enter();
        let pool = Pool::new(&ClientConfig::default());
        pool.channel(&nodes[0]);
        pool.shun(&nodes[0]);

        let mut picker = Picker::default();
        let pick = |picker: &mut Picker| picker.pick(&nodes, &pool);
        assert_eq!(pick(&mut picker).as_ref(), Some(&nodes[1]), "the shunned one comes last");
        picker.redirect(&nodes[1], nodes[1].clone());
        assert_eq!(pick(&mut picker).as_ref(), Some(&nodes[2]));
        picker.redirect(&nodes[2], nodes[1].clone());
        assert_eq!(pick(&mut picker).as_ref(), Some(&nodes[1]), "redirected, although asked");
        assert_eq!(pick(&mut picker).as_ref(), Some(&nodes[0]));
        assert_eq!(pick(&mut picker), None);
        picker.next_round();
        assert_eq!(pick(&mut picker).as_ref(), Some(&nodes[1]));
    }
}
