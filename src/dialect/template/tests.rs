use serde_json::{Value, json};

use super::render;

fn data() -> Value {
    json!({
        "status": "firing",
        "free": 5.1,
        "count": 3,
        "none": null,
        "alerts": [
            {"labels": {"alertname": "DiskFull", "instance": "nas:9100"}, "n": 1},
            {"labels": {"alertname": "Load"}, "n": 2},
        ],
        "tags": ["a", "b"],
        "a-b": {"c": "d"},
    })
}

fn shown(template: &str) -> String {
    render(template, &data()).unwrap_or_else(|error| panic!("{template}: {error}"))
}

#[test]
fn a_list_too_long_to_go_through_is_refused_before_it_is_gathered() {
    let data = json!({ "all": vec![0; 20_001] });
    let error = render("{{range .all}}{{end}}", &data).unwrap_err();
    assert!(error.contains("steps"), "{error}");
}

#[test]
fn templates_say_what_gos_would() {
    for (template, expected) in [
        ("plain }} text", "plain }} text"),
        ("{{.status}}: {{.free}} GB, {{ .count }}", "firing: 5.1 GB, 3"),
        ("{{.alerts.labels}}{{.none}}{{.no.such}}", "alerts.labelsnoneno.such"),
        (
            "{{index .alerts 0 \"labels\" \"alertname\"}} {{index . \"a-b\" \"c\"}}",
            "DiskFull d",
        ),
        ("{{(first .alerts).labels.alertname}}", "DiskFull"),
        (
            "{{range .alerts}}- {{.labels.alertname}} on {{$.status}}\n{{end}}",
            "- DiskFull on firing\n- Load on firing\n",
        ),
        ("{{range $i, $one := .alerts}}{{$i}}={{$one.n}} {{end}}", "0=1 1=2 "),
        ("{{range $one := .tags}}{{$one}}{{end}}", "ab"),
        ("{{range .no}}x{{else}}nothing{{end}}", "nothing"),
        (
            "{{range $k, $v := (index .alerts 0).labels}}{{$k}}={{$v}};{{end}}",
            "alertname=DiskFull;instance=nas:9100;",
        ),
        (
            "{{if eq .status \"resolved\"}}over{{else if gt .count 2}}many{{else}}few{{end}}",
            "many",
        ),
        (
            "{{if and .free (not .no)}}yes{{end}}{{if or .no .none}}no{{end}}",
            "yes",
        ),
        (
            "{{with index .alerts 1}}{{.labels.alertname}}{{end}}{{with .no}}x{{else}}-{{end}}",
            "Load-",
        ),
        ("{{$x := 1}}{{range .tags}}{{$x = add $x 1}}{{end}}{{$x}}", "3"),
        ("a {{- /* nothing */ -}} b", "ab"),
        ("a\n{{- if .free }}\nb\n{{- end }}", "a\nb"),
        ("{{.status | upper | printf \"%s!\" }}", "FIRING!"),
        (
            "{{printf \"%05.1f|%3d|%-3d|%q\" .free .count .count .status}}",
            "005.1|  3|3  |\"firing\"",
        ),
        (
            "{{printf \"%.1f %d %v %s %%\" .free .count .tags .status}}",
            "5.1 3 [a b] firing %",
        ),
        (
            "{{.no | default \"none\"}} {{default 1 .count}} {{coalesce .no .none .status}}",
            "none 3 firing",
        ),
        ("{{len .tags}}{{join \", \" .tags}}{{.tags}}", "2a, b[a b]"),
        (
            "{{title \"disk is full\"}} {{trunc 4 .status}} {{trunc -3 .status}}",
            "Disk Is Full firi ing",
        ),
        (
            "{{replace \"i\" \"o\" .status}} {{contains \"fir\" .status}}",
            "forong true",
        ),
        (
            "{{ternary \"a\" \"b\" (eq .count 3)}}{{div 7 2}}{{mod 7 2}}{{round 1.255 1}}",
            "a311.3",
        ),
        ("{{ `raw \"}}\" text` }}{{\"a\\tb}}\"}}", "raw \"}}\" texta\tb}}"),
        ("{{toJSON .tags}}{{(fromJSON \"{\\\"a\\\": 1}\").a}}", "[\"a\",\"b\"]1"),
        (
            "{{plural \"one\" \"many\" (len .tags)}} {{quote .status}}",
            "many \"firing\"",
        ),
        (
            "{{lt 1 2}}{{le \"a\" \"a\"}}{{ne 1 1.0}}{{eq .status \"x\" \"firing\"}}",
            "truetruefalsetrue",
        ),
    ] {
        assert_eq!(shown(template), expected, "{template}");
    }
}

#[test]
fn a_fault_is_said_in_one_line() {
    for (template, word) in [
        ("{{.a", "no end"),
        ("{{if .a}}x", "no end"),
        ("x{{end}}", "no beginning"),
        ("{{else}}", "no beginning"),
        ("{{}}", "empty"),
        ("{{noSuch .a}}", "noSuch"),
        ("{{define \"x\"}}{{end}}", "define"),
        ("{{\"a}}", "no end"),
        ("{{(.a}}", "no end"),
        ("{{.a)}}", "no beginning"),
        ("{{.a .b}}", "no function"),
        ("{{$x}}", "$x"),
        ("{{$x = 1}}", "$x"),
        ("{{range .status}}{{end}}", "firing"),
        ("{{div 1 0}}", "zero"),
        ("{{fail \"no\"}}", "no"),
        ("{{lt .status 1}}", "kinds"),
        ("{{#}}", "'#'"),
        ("{{1x}}", "1x"),
    ] {
        let error = render(template, &data()).expect_err(template);
        assert!(error.contains(word) && !error.contains('\n'), "{template}: {error}");
    }
}

#[test]
fn nothing_is_unbounded() {
    let list: Vec<u32> = (0..5000).collect();
    let data = json!({"list": list, "text": "x".repeat(100_000)});
    let doubled = format!(
        "{{{{$x := \"ab\"}}}}{}{{{{len $x}}}}",
        "{{$x = print $x $x}}".repeat(60)
    );
    let nested = format!("{{{{$x := list 1}}}}{}{{{{$x}}}}", "{{$x = list $x $x}}".repeat(60));
    for template in [
        "{{range .list}}{{range $.list}}x{{end}}{{end}}",
        "{{range .list}}{{if contains \"y\" $.text}}x{{end}}{{end}}",
        "{{repeat 100000000 \"abc\"}}",
        "{{replace \"x\" .text .text}}",
        "{{replace \"\" .text .text}}",
        "{{splitList \"\" .text}}",
        "{{range .list}}{{$x := upper $.text}}{{end}}",
        &doubled,
        &nested,
        &format!("{}{}", "{{if 1}}".repeat(100), "{{end}}".repeat(100)),
        &format!("{{{{{}1{}}}}}", "(".repeat(100), ")".repeat(100)),
        &"x".repeat(20_000),
    ] {
        let error = render(template, &data).err();
        assert!(error.is_some(), "{}", &template[..template.len().min(60)]);
    }
    // Of what would be too long to send, the beginning.
    let long = render("{{range .list}}{{$.text}}{{end}}", &data).unwrap();
    assert!(long.len() < 400_000, "{}", long.len());
    assert_eq!(render("{{printf \"%1000000d\" 1}}", &data).unwrap().len(), 64);
}
