//! Judges what a service asks of the reverse proxy: it may route the app's own host names, to its own services.

use std::collections::BTreeSet;

use crate::compose::Service;
use crate::finding::{Finding, Place};
use crate::labels::Labels;
use crate::policy::Rule;
use crate::policy::check::Scope;
use crate::traefik::{self, Protocol, Route};

/// Domains that belong to nobody by standard, and so can be routed without harm: samples are full of them.
const NOBODYS: [&str; 6] = ["example.com", "example.org", "example.net", "invalid", "test", "localhost"];

pub(super) fn check(
    scope: &Scope<'_>,
    findings: &mut Vec<Finding>,
    name: &str,
    service: &Service,
    services: &[String],
) {
    // A proxy may read the labels of containers as well as those of services.
    for (part, labels) in [("deploy.labels", &service.deploy.labels), ("labels", &service.labels)] {
        check_labels(scope, findings, name, labels, services, &|label| service.at(&format!("{part} {label}")).clone());
    }
}

fn check_labels(
    scope: &Scope<'_>,
    findings: &mut Vec<Finding>,
    name: &str,
    labels: &Labels,
    services: &[String],
    at: &dyn Fn(&str) -> Place,
) {
    // Whether a route without `traefik.enable` counts is up to the proxy, so only a clear no is believed.
    if traefik::enabled(labels).is_some_and(|value| value.trim().eq_ignore_ascii_case("false")) {
        return;
    }
    let mut seen = BTreeSet::new();
    for label in labels.keys().filter(|label| label.get(..8).is_some_and(|head| head.eq_ignore_ascii_case("traefik.")))
    {
        if !seen.insert(label.to_ascii_lowercase()) {
            findings.push(
                Rule::ForeignHost
                    .refuse(&at(label), &format!("services.{name} label {label} is there twice in different case")),
            );
        }
    }
    for route in traefik::routers(name, labels) {
        // Labels are compared without case by Traefik, so the place may be that of the service.
        let label = format!("traefik.{}.routers.{}.rule", protocol(route.protocol), route.router);
        let what = format!("services.{name} route {}", route.router);
        hosts(scope, findings, &route, &at(&label), &what);
        backend(scope, findings, &route, &at(&label.replace(".rule", ".service")), &what, labels.keys());
    }
    for (label, value) in labels {
        let lower = label.to_ascii_lowercase();
        let addressed = lower.starts_with("traefik.")
            && (lower.ends_with(".forwardauth.address")
                || lower.contains(".loadbalancer.server.url")
                || lower.contains(".loadbalancer.servers"));
        if lower.starts_with("traefik.") && lower.contains(".tls.domains") {
            for host in value
                .split(',')
                .map(|host| host.trim().to_ascii_lowercase())
                .filter(|host| !host.is_empty() && !own_host(scope, host))
            {
                findings.push(
                    Rule::ForeignHost.refuse(&at(label), &format!("services.{name} asks for a certificate for {host}")),
                );
            }
        }
        if addressed && !own_address(scope, value, services) {
            findings.push(Rule::ForeignBackend.refuse(&at(label), &format!("services.{name} label {label} = {value}")));
        }
    }
}

fn hosts(scope: &Scope<'_>, findings: &mut Vec<Finding>, route: &Route, place: &Place, what: &str) {
    if route.protocol == Protocol::Udp {
        return;
    }
    if route.hosts.iter().any(|host| host.trim().is_empty()) {
        findings.push(Rule::EmptyHost.refuse(place, &format!("{what} has an empty host")));
        return;
    }
    for host in route.hosts.iter().filter(|host| host.as_str() != "*") {
        if !own_host(scope, host) {
            findings.push(Rule::ForeignHost.refuse(place, &format!("{what} asks for {host}")));
        }
    }
    for pattern in route.host_patterns.iter().filter(|pattern| !own_pattern(scope, pattern)) {
        findings.push(Rule::ForeignHost.refuse(place, &format!("{what} asks for hosts like {pattern}")));
    }
    if traefik::parse_rule(&route.rule).bound_to_hosts {
        return;
    }
    let shared = route.entrypoints.is_empty()
        || route.entrypoints.iter().any(|entry| entry == "web" || entry == "web-secure" || entry == "websecure");
    let what = if route.rule.is_empty() {
        format!("{what} has no rule")
    } else {
        format!("{what} also matches other hosts: {}", route.rule)
    };
    if route.protocol == Protocol::Tcp && !shared {
        // Plain TCP has no host names: such a router takes the whole of an entrypoint that was made for it.
        findings.push(Rule::ForeignHost.replaced(place, &what));
    } else {
        findings.push(Rule::ForeignHost.refuse(place, &what));
    }
}

fn own_host(scope: &Scope<'_>, host: &str) -> bool {
    let below = |host: &str, domain: &str| {
        !domain.is_empty() && (host == domain || host.strip_suffix(domain).is_some_and(|front| front.ends_with('.')))
    };
    let domain = scope.env.get("DOMAIN").map(|domain| domain.to_ascii_lowercase()).unwrap_or_default();
    below(host, &domain)
        || NOBODYS.iter().any(|nobody| below(host, nobody))
        || scope.policy.hosts.iter().any(|allowed| host == allowed.to_ascii_lowercase())
}

/// True for a pattern that only matches names below DOMAIN: `{name:regex}.DOMAIN`, or a regular expression that ends with `\.DOMAIN$`.
fn own_pattern(scope: &Scope<'_>, pattern: &str) -> bool {
    let Some(domain) = scope.env.get("DOMAIN").filter(|domain| !domain.is_empty()) else { return false };
    let braces = pattern
        .strip_suffix(domain.as_str())
        .and_then(|front| front.strip_suffix("}."))
        .is_some_and(|front| front.starts_with('{') && !front[1..].contains(['{', '}']));
    let expression = format!(r"\.{}$", regex::escape(domain));
    let anchored = !pattern.contains(['|', '\n'])
        && [expression.clone(), expression.replace(r"\-", "-")].iter().any(|end| pattern.ends_with(end));
    braces || anchored
}

fn backend<'l>(
    scope: &Scope<'_>,
    findings: &mut Vec<Finding>,
    route: &Route,
    place: &Place,
    what: &str,
    labels: impl Iterator<Item = &'l String>,
) {
    let Some(target) = &route.target else { return };
    let (service, provider) = target.split_once('@').unwrap_or((target, "swarm"));
    let prefix = format!("traefik.{}.services.{service}.", protocol(route.protocol)).to_ascii_lowercase();
    let declared = labels.map(|label| label.to_ascii_lowercase()).any(|label| label.starts_with(&prefix));
    // A recipe that may hold the engine's socket is the proxy itself, and the inner services are its own.
    let inner = provider == "internal" && scope.policy.engine_socket;
    let own = inner
        || ["swarm", "docker"].contains(&provider)
            && (declared
                || service == scope.stack
                || scope.owns(service)
                || service.strip_prefix(scope.stack).is_some_and(|rest| rest.starts_with('-')));
    if !own {
        findings.push(Rule::ForeignBackend.refuse(place, &format!("{what} uses {target}")));
    }
}

/// True for a URL whose host is the app's own or a service of the stack.
fn own_address(scope: &Scope<'_>, address: &str, services: &[String]) -> bool {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default().split(':').next().unwrap_or_default().to_ascii_lowercase();
    own_host(scope, &host)
        || services.iter().any(|service| host == *service || host == format!("{}_{service}", scope.stack))
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "http",
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}
