//! Groups: who is in them, and what a client is told about them.

use std::collections::BTreeSet;

use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node, Server};

use super::node::{attr, iq_error, iq_result, jid_attr, now_s};
use super::people::GroupKind;
use super::world::{Device, Naming, World};

pub struct Group {
    /// Without `@g.us`.
    pub id: String,
    pub subject: String,
    pub created_s: u64,
    /// Accounts; the first is the creator.
    pub members: Vec<usize>,
    /// How members address each other in it.
    pub naming: Naming,
    pub kind: GroupKind,
    /// Accounts that are admins beside the creator.
    pub admins: BTreeSet<usize>,
}

impl Group {
    pub fn is_admin(&self, account: usize) -> bool {
        self.members.first() == Some(&account) || self.admins.contains(&account)
    }
}

/// Makes a group and returns its address, `…@g.us`.
pub fn create(world: &mut World, subject: &str, members: Vec<usize>, naming: Naming) -> String {
    let id = format!("1203630000000{:05}", world.groups.len() + 1);
    let group = Group {
        id: id.clone(),
        subject: subject.into(),
        created_s: now_s(),
        members,
        naming,
        kind: GroupKind::default(),
        admins: BTreeSet::new(),
    };
    world.groups.insert(id.clone(), group);
    format!("{id}@g.us")
}

/// `w:g2` queries: one group, or all of the asker's.
pub fn on_query(world: &World, asker: Device, node: &Node) -> Node {
    let to = jid_attr(node, "to").unwrap_or_else(|| Jid::new("", Server::Group));
    if node.get_optional_child("participating").is_some() {
        let mine = world.groups.values().filter(|g| g.members.contains(&asker.account));
        let groups: Vec<Node> = mine.map(|g| describe(world, g)).collect();
        return iq_result(node, vec![NodeBuilder::new("groups").children(groups).build()]);
    }
    match world.groups.get(to.user.as_str()) {
        Some(group) if attr(node, "type").as_deref() == Some("get") && group.members.contains(&asker.account) => {
            iq_result(node, vec![describe(world, group)])
        }
        Some(group) if group.members.contains(&asker.account) => iq_error(node, 501, "feature-not-implemented"),
        Some(_) => iq_error(node, 403, "forbidden"),
        None => iq_error(node, 404, "item-not-found"),
    }
}

fn describe(world: &World, group: &Group) -> Node {
    let phone = |account| Device { account, device: 0 };
    let participants = group.members.iter().enumerate().map(|(i, account)| {
        let other = match group.naming {
            Naming::Lid => "phone_number",
            Naming::Pn => "lid",
        };
        let participant = NodeBuilder::new("participant")
            .attr("jid", world.jid(phone(*account), group.naming))
            .attr(other, world.jid(phone(*account), group.naming.other()));
        match i {
            0 => participant.attr("type", "superadmin").build(),
            _ if group.admins.contains(account) => participant.attr("type", "admin").build(),
            _ => participant.build(),
        }
    });
    NodeBuilder::new("group")
        .attr("id", group.id.as_str())
        .attr("subject", group.subject.as_str())
        .attr("s_t", group.created_s)
        .attr("creation", group.created_s)
        .attr("creator", world.jid(phone(group.members[0]), group.naming))
        .attr("addressing_mode", mode(group.naming))
        .attr("p_v_id", "1")
        .children(participants.chain(group.kind.nodes()))
        .build()
}

/// The value of `addressing_mode`.
pub fn mode(naming: Naming) -> &'static str {
    match naming {
        Naming::Pn => "pn",
        Naming::Lid => "lid",
    }
}
