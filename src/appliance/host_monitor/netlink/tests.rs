use super::*;

const ETHERNET: u32 = 2;
const DOCKER: u32 = 3;
const VETH: u32 = 4;
const UP: u32 = IFF_UP | IFF_RUNNING;

fn attribute(number: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut bytes = [length.to_ne_bytes(), number.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn message(kind: u16, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = u32::try_from(HEADER + body.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&7_u32.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&body);
    bytes
}

fn link(index: u32, flags: u32, kind: &str) -> Vec<u8> {
    let kind = attribute(IFLA_INFO_KIND, &[kind.as_bytes(), b"\0"].concat());
    // The kernel marks what holds attributes.
    let info = attribute(IFLA_LINKINFO | 0x8000, &kind);
    let statistics = attribute(7, &fastrand::u64(..).to_ne_bytes());
    let fixed = [[0; 4], index.to_ne_bytes(), flags.to_ne_bytes(), [0; 4]].concat();
    message(RTM_NEWLINK, &[&fixed, &statistics, &info])
}

fn address(index: u32, scope: u8, flags: u32, own: [u8; 4]) -> Vec<u8> {
    let fixed = [[2, 24, 0x80, scope], index.to_ne_bytes()].concat();
    let lifetimes = attribute(6, &fastrand::u128(..).to_ne_bytes());
    let flags = attribute(IFA_FLAGS, &flags.to_ne_bytes());
    let (local, other) = (attribute(IFA_LOCAL, &own), attribute(IFA_ADDRESS, &[9; 4]));
    message(RTM_NEWADDR, &[&fixed, &lifetimes, &other, &local, &flags])
}

fn route(index: u32, length: u8, metric: u32) -> Vec<u8> {
    let fixed = [2, length, 0, 0, 254, 16, 0, RTN_UNICAST, 0, 0, 0, 0];
    let (out, metric) = (
        attribute(RTA_OIF, &index.to_ne_bytes()),
        attribute(RTA_PRIORITY, &metric.to_ne_bytes()),
    );
    message(
        RTM_NEWROUTE,
        &[&fixed, &attribute(RTA_GATEWAY, &[10, 0, 0, 1]), &metric, &out],
    )
}

fn seen(told: &[Vec<u8>]) -> Snapshot {
    let mut dumped = Dumped::default();
    for message in messages(&told.concat()) {
        dumped.take(&message);
    }
    dumped.snapshot()
}

/// A host with a cable and containers.
fn host() -> Vec<Vec<u8>> {
    vec![
        link(1, UP | IFF_LOOPBACK, ""),
        link(ETHERNET, UP, ""),
        link(DOCKER, IFF_UP, "bridge"),
        address(1, 254, 0, [127, 0, 0, 1]),
        address(ETHERNET, 0, 0, [10, 0, 0, 2]),
        address(DOCKER, 0, 0, [172, 17, 0, 1]),
        route(ETHERNET, 0, 100),
        route(ETHERNET, 24, 100),
    ]
}

fn with(change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Snapshot {
    let mut told = host();
    change(&mut told);
    seen(&told)
}

#[test]
fn statistics_lifetimes_and_other_routes_change_nothing() {
    assert_eq!(with(|_| {}), seen(&host()));
    assert_eq!(with(|told| told.push(route(ETHERNET, 16, 5))), seen(&host()));
    assert_eq!(
        with(|told| told.push(address(ETHERNET, RT_SCOPE_LINK, 0, [169, 254, 0, 9]))),
        seen(&host())
    );
}

#[test]
fn containers_that_come_and_go_change_nothing() {
    let busy = with(|told| {
        told[2] = link(DOCKER, UP, "bridge");
        told.push(link(VETH, UP, "veth"));
        told.push(address(VETH, 0, 0, [172, 18, 0, 1]));
    });
    assert_eq!(busy, seen(&host()));
}

#[test]
fn a_link_an_address_or_a_default_route_that_changes_is_seen() {
    type Change = fn(&mut Vec<Vec<u8>>);
    let changes: [Change; 6] = [
        |told| told[1] = link(ETHERNET, IFF_UP, ""),
        |told| told[4] = address(ETHERNET, 0, 0, [10, 0, 0, 3]),
        |told| drop(told.remove(4)),
        |told| told[6] = route(ETHERNET, 0, 20_100),
        |told| drop(told.remove(6)),
        |told| {
            told.push(link(9, UP, "wireguard"));
            told.push(address(9, 0, 0, [10, 9, 0, 1]));
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert_ne!(with(change), seen(&host()), "{number}");
    }
}

/// A cable out leaves address and routes where they are.
#[test]
fn what_leads_out_over_a_link_that_is_down_leads_nowhere() {
    let down = with(|told| {
        told[1] = link(ETHERNET, IFF_UP, "");
        told.remove(2);
    });
    assert_eq!(down, Snapshot::default());
}

#[test]
fn inside_a_container_and_without_a_default_route_every_link_may_be_the_one() {
    let inside = |leads: bool| {
        let mut told = vec![link(VETH, UP, "veth"), address(VETH, 0, 0, [172, 17, 0, 2])];
        told.extend(leads.then(|| route(VETH, 0, 0)));
        seen(&told)
    };
    assert_ne!(inside(true), Snapshot::default());
    assert_ne!(inside(false), Snapshot::default());
    assert_ne!(inside(true), inside(false));
}

/// IPv6 tells of one address only, and several ways out are one route.
#[test]
fn what_only_ipv6_and_several_ways_out_look_like_is_read() {
    let fixed = [[10, 64, 0, 0], ETHERNET.to_ne_bytes()].concat();
    let own = attribute(IFA_ADDRESS, &[0x20; 16]);
    let ipv6 = message(RTM_NEWADDR, &[&fixed, &own]);
    assert_ne!(with(|told| told.push(ipv6)), seen(&host()));

    let hop = |link: u32| [[8, 0, 0, 0], link.to_ne_bytes()].concat();
    let both = |first: u32, second: u32| {
        let fixed = [2, 0, 0, 0, 254, 16, 0, RTN_UNICAST, 0, 0, 0, 0];
        let hops = attribute(RTA_MULTIPATH, &[hop(first), hop(second)].concat());
        message(RTM_NEWROUTE, &[&fixed, &hops])
    };
    let mut dumped = Dumped::default();
    for message in messages(&both(ETHERNET, 9)) {
        dumped.take(&message);
    }
    let over: Vec<_> = dumped
        .links
        .iter()
        .map(|(index, link)| (*index, link.defaults.len()))
        .collect();
    assert_eq!(over, [(ETHERNET, 1), (9, 1)]);
}

#[test]
fn an_address_counts_when_it_can_be_used() {
    for (flags, counts) in [
        (0, true),
        (0x80, true),
        (IFA_F_TENTATIVE, false),
        (IFA_F_TENTATIVE | IFA_F_OPTIMISTIC, true),
        (IFA_F_DADFAILED, false),
    ] {
        let seen = with(|told| told.push(address(ETHERNET, 0, flags, [10, 0, 0, 99])));
        assert_eq!(seen != super::tests::seen(&host()), counts, "{flags:#x}");
    }
}

#[test]
fn of_routes_only_the_default_ones_are_worth_a_look() {
    let matters = |bytes: Vec<u8>| messages(&bytes).next().unwrap().matters();
    assert!(matters(route(ETHERNET, 0, 1)));
    assert!(matters(route(ETHERNET, 1, 1)), "half of everything");
    assert!(!matters(route(ETHERNET, 24, 1)));
    assert!(matters(link(VETH, UP, "veth")));
    assert!(!matters(message(28, &[&[0; 12]])), "a neighbour");
}

#[test]
fn a_refusal_and_the_end_are_known() {
    let refused = message(NLMSG_ERROR, &[&(-1_i32).to_ne_bytes()]);
    let last = message(NLMSG_DONE, &[&[0; 4]]);
    let all = [link(1, UP, ""), last, refused].concat();
    let read: Vec<_> = messages(&all)
        .map(|message| (message.is_last(), message.refusal()))
        .collect();
    assert_eq!(read, [(false, None), (true, None), (true, Some(1))]);
    assert!(messages(&all).all(|message| message.sequence == 7));
}

#[test]
fn torn_and_random_bytes_are_harmless() {
    let whole = host().concat();
    for length in 0..whole.len() {
        seen(&[whole[..length].to_vec()]);
    }
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..2000 {
        let mut bytes = host().concat();
        for _ in 0..8 {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        seen(&[bytes]);
    }
}
