//! What the relay in the test's hand shows of an alert.

use tautline::alert::Alert;
use tautline::gateway::api::{AlertView, AttachmentView, DeliveryView};
use tautline::outbox::Step;

pub(super) fn view(number: usize, route: &str, alert: &Alert, state: Step) -> AlertView {
    AlertView {
        id: format!("AAAAAAAA{number:04}"),
        seq: number as u64,
        route: route.into(),
        session: "default".into(),
        accepted_at: 1_700_000_000_123,
        title: alert.title.clone(),
        text: alert.text.clone(),
        text_cut: false,
        priority: alert.priority.into(),
        tags: alert.tags.clone(),
        click: alert.click.clone(),
        attachments: alert.attachments.iter().map(AttachmentView::from).collect(),
        state,
        deliveries: vec![DeliveryView {
            to: "+15550100".into(),
            part: 0,
            message_id: "3EB0AA".into(),
            state,
            since_at: 1_700_000_000_123,
            attempts: 1,
            note: String::new(),
            held_back: None,
        }],
        fallbacks: Vec::new(),
        beside: Vec::new(),
        history: Vec::new(),
    }
}
