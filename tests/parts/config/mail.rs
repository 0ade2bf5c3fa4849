//! Where mails come in, and where they lead.

use super::{Site, has};

#[test]
fn mails_are_taken_from_the_network_where_something_makes_that_safe() {
    for (gateway, listen, expected) in [
        ("", "[\"127.0.0.1:2525\", \"[::1]:2525\"]", &[][..]),
        ("trusted = [\"192.168.1.0/24\"]", "[\"0.0.0.0:2525\"]", &[]),
        ("tls = { cert = \"c\", key = \"k\" }", "[\"0.0.0.0:2525\"]", &[]),
        (
            "",
            "[\"0.0.0.0:2525\"]",
            &["smtp.listen[0]: ", "reachable from the network"],
        ),
        ("trusted = []", "[\"0.0.0.0:2525\"]", &["smtp.listen[0]: "]),
        // A proxy for HTTP hands no mail on.
        ("behind_proxy = true", "[\"0.0.0.0:2525\"]", &["smtp.listen[0]: "]),
        ("", "\"127.0.0.1:2525\"", &["smtp.listen: is a string"]),
        ("", "[\"2525\"]", &["smtp.listen[0]: ", "no address and port"]),
        (
            "",
            "[\"2525\"]\nlisen = 1",
            &["smtp.lisen: unknown key; did you mean \"listen"],
        ),
    ] {
        let site = Site::with(format!("[gateway]\n{gateway}\n[smtp]\nlisten = {listen}\n"));
        match expected {
            [] => drop(site.load().unwrap()),
            _ => has(&site.faults(), expected),
        }
    }
}

#[test]
fn a_mail_leads_to_a_route_that_there_is() {
    let site = Site::with(
        "[[route]]\nname = \"ops\"\nto = [\"me\"]\n[mail]\nroute = \"nobody\"\nrotes = 1\n[mail.routes]\nroot = \"ops\"\n\
         ROOT = \"ops\"\n\"a b\" = \"ops\"\nbob = 3\n",
    );
    let faults = site.faults();
    has(&faults, &["5:9: mail.route: no route is named \"nobody\"", "ops"]);
    has(&faults, &["mail.rotes: unknown key; did you mean \"route"]);
    has(&faults, &["mail.routes.root: is the same address again"]);
    has(&faults, &["mail.routes.a b: is no address"]);
    has(&faults, &["mail.routes.bob: is an integer"]);
    has(
        &Site::with("mail = 1").faults(),
        &["1:8: mail: is an integer", "[mail]"],
    );
    has(
        &Site::with("[mail]\nroutes = [\"x\"]").faults(),
        &["mail.routes: is an array", "a table"],
    );
    // Without a route there is one.
    assert!(Site::with("[mail]\nroute = \"me\"").load().is_ok());
}
