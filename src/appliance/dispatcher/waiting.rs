//! Who waits for an alert to come so far. Each is told of that alert alone.

use std::collections::BTreeMap;

use super::event::{Answer, Wait};
use crate::gateway::api::AlertView;
use crate::outbox::{Outbox, Step};

/// By the alert. Those who have left are dropped when the alert changes or another waits for it; so there are no more
/// than alerts in the outbox and people who wait.
#[derive(Default)]
pub(super) struct Waiting(BTreeMap<String, Vec<(Step, Answer<AlertView>)>>);

impl Waiting {
    /// Answers at once where it has come so far already.
    pub(super) fn add(&mut self, outbox: &Outbox, wait: Wait) {
        let Wait { id, step, answer } = wait;
        let Some(record) = outbox.get(&id) else { return };
        // `Failed` is the greatest step: it ends every wait.
        if record.step() >= step {
            let _ = answer.try_send(record.into());
            return;
        }
        let waiting = self.0.entry(id).or_default();
        waiting.retain(|(_, answer)| !answer.is_closed());
        waiting.push((step, answer));
    }

    /// The alert has come as far as `step`.
    pub(super) fn changed(&mut self, outbox: &Outbox, id: &str, step: Step) {
        let Some(waiting) = self.0.get_mut(id) else { return };
        let record = outbox.get(id);
        waiting.retain(|(wanted, answer)| {
            if let Some(record) = record.filter(|_| step >= *wanted) {
                let _ = answer.try_send(record.into());
                return false;
            }
            record.is_some() && !answer.is_closed()
        });
        if waiting.is_empty() {
            self.0.remove(id);
        }
    }
}
