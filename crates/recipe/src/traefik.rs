//! Routes that a service asks of Traefik through its labels.
//!
//! Reads as much of Traefik's rule language as says which hosts and paths are meant. A rule that it does not understand is reported as such,
//! never taken for harmless.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::labels::{Labels, is_yes};

/// One router of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Compose key of the service that carries the labels.
    pub service: String,
    /// Name of the router.
    pub router: String,
    /// Protocol of the router.
    pub protocol: Protocol,
    /// Host names of `Host(…)` or `HostSNI(…)`, lower case, in order of appearance.
    pub hosts: Vec<String>,
    /// Arguments of `HostRegexp(…)`, as written.
    pub host_patterns: Vec<String>,
    /// First `PathPrefix(…)` or `Path(…)`, if any.
    pub path_prefix: Option<String>,
    /// Port inside the container, from `…loadbalancer.server.port`.
    pub port: Option<u16>,
    /// `entrypoints` as written.
    pub entrypoints: Vec<String>,
    /// Middlewares as written, in order.
    pub middlewares: Vec<String>,
    /// Name of the Traefik service that the router uses, if it says one.
    pub target: Option<String>,
    /// The rule as written.
    pub rule: String,
}

/// Protocol of a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP.
    Http,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    fn word(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// What a rule says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// Host names, lower case.
    pub hosts: Vec<String>,
    /// Arguments of `HostRegexp(…)` and `HostSNIRegexp(…)`.
    pub patterns: Vec<String>,
    /// Path prefixes and paths.
    pub paths: Vec<String>,
    /// True when every way to match needs one of `hosts` or `patterns`. False for a rule that also matches other hosts.
    pub bound_to_hosts: bool,
    /// Parts whose reach cannot be told.
    pub unclear: Vec<String>,
}

/// The routers of a service; none when `traefik.enable` does not say yes.
pub fn routes(service: &str, labels: &Labels) -> Vec<Route> {
    if enabled(labels).is_some_and(is_yes) { routers(service, labels) } else { Vec::new() }
}

/// The value of `traefik.enable`. Traefik reads labels without case.
pub(crate) fn enabled(labels: &Labels) -> Option<&str> {
    labels.iter().find(|(key, _)| key.eq_ignore_ascii_case("traefik.enable")).map(|(_, value)| value.as_str())
}

/// All routers that the labels describe, in use or not.
pub(crate) fn routers(service: &str, labels: &Labels) -> Vec<Route> {
    [Protocol::Http, Protocol::Tcp, Protocol::Udp]
        .into_iter()
        .flat_map(|protocol| of_protocol(service, labels, protocol))
        .collect()
}

fn of_protocol(service: &str, labels: &Labels, protocol: Protocol) -> Vec<Route> {
    let word = protocol.word();
    let mut routers: BTreeMap<&str, BTreeMap<String, &str>> = BTreeMap::new();
    let mut ports: BTreeMap<&str, u16> = BTreeMap::new();
    for (key, value) in labels {
        let Some(rest) = strip_prefix_ignoring_case(key, &format!("traefik.{word}.")) else { continue };
        if let Some((name, option)) = strip_prefix_ignoring_case(rest, "routers.").and_then(|rest| rest.split_once('.'))
        {
            routers.entry(name).or_default().insert(option.to_ascii_lowercase(), value);
        } else if let Some((name, option)) =
            strip_prefix_ignoring_case(rest, "services.").and_then(|rest| rest.split_once('.'))
            && option.eq_ignore_ascii_case("loadbalancer.server.port")
            && let Ok(port) = value.trim().parse()
        {
            ports.insert(name, port);
        }
    }
    let list = |text: Option<&&str>| -> Vec<String> {
        text.map(|text| text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
            .unwrap_or_default()
    };
    routers
        .into_iter()
        .map(|(router, options)| {
            let text = options.get("rule").copied().unwrap_or_default();
            let rule = parse_rule(text);
            let target = options.get("service").map(|value| (*value).to_owned());
            // Traefik takes the one service there is when a router names none.
            let port = match &target {
                Some(name) => ports.get(name.split('@').next().unwrap_or(name)).copied(),
                None => ports
                    .get(router)
                    .copied()
                    .or_else(|| if ports.len() == 1 { ports.values().next().copied() } else { None }),
            };
            Route {
                service: service.to_owned(),
                router: router.to_owned(),
                protocol,
                hosts: rule.hosts,
                host_patterns: rule.patterns,
                path_prefix: rule.paths.into_iter().next(),
                port,
                entrypoints: list(options.get("entrypoints")),
                middlewares: list(options.get("middlewares")),
                target,
                rule: text.to_owned(),
            }
        })
        .collect()
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

/// Reads a rule: `Host(…)`, `HostSNI(…)`, `PathPrefix(…)`, `Path(…)`, joined by `&&`, `||`, `!` and parentheses, with arguments in
/// backticks or quotes.
pub fn parse_rule(text: &str) -> Rule {
    let mut parser = RuleParser { tokens: tokens(text), at: 0, rule: Rule::default(), depth: 0 };
    let bound = parser.any_of();
    if parser.at < parser.tokens.len() {
        parser.rule.unclear.push(text.trim().to_owned());
    }
    let mut rule = parser.rule;
    rule.bound_to_hosts = bound && rule.unclear.is_empty() && !(rule.hosts.is_empty() && rule.patterns.is_empty());
    rule
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => {}
            '`' | '"' | '\'' => {
                let inner: String = chars.by_ref().take_while(|inner| *inner != c).collect();
                // Escapes could hide another host: such a text is left for what it is, a word that nobody knows.
                tokens.push(if c != '`' && inner.contains('\\') { Token::Word(inner) } else { Token::Text(inner) });
            }
            '&' | '|' => {
                if chars.peek() == Some(&c) {
                    chars.next();
                }
                tokens.push(Token::Sign(c));
            }
            '(' | ')' | ',' | '!' => tokens.push(Token::Sign(c)),
            first => {
                let mut word = String::from(first);
                while let Some(next) = chars.next_if(|next| next.is_alphanumeric() || *next == '_') {
                    word.push(next);
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    tokens
}

struct RuleParser {
    tokens: Vec<Token>,
    at: usize,
    rule: Rule,
    depth: usize,
}

/// Each function returns whether every match of its part needs a host that was named.
impl RuleParser {
    fn any_of(&mut self) -> bool {
        let mut bound = self.all_of();
        while self.sign('|') {
            bound &= self.all_of();
        }
        bound
    }

    fn all_of(&mut self) -> bool {
        let mut bound = self.term();
        while self.sign('&') {
            bound |= self.term();
        }
        bound
    }

    fn term(&mut self) -> bool {
        self.depth += 1;
        let bound = self.depth <= 64 && self.term_inner();
        self.depth -= 1;
        bound
    }

    fn term_inner(&mut self) -> bool {
        if self.sign('!') {
            let (hosts, patterns) = (self.rule.hosts.len(), self.rule.patterns.len());
            self.term();
            self.rule.hosts.truncate(hosts);
            self.rule.patterns.truncate(patterns);
            return false;
        }
        if self.sign('(') {
            let bound = self.any_of();
            if !self.sign(')') {
                self.rule.unclear.push("a missing closing parenthesis".into());
            }
            return bound;
        }
        let Some(Token::Word(word)) = self.tokens.get(self.at).cloned() else {
            self.rule.unclear.push("an empty part".into());
            return false;
        };
        self.at += 1;
        let Some(arguments) = self.arguments() else {
            self.rule.unclear.push(word);
            return false;
        };
        match word.to_ascii_lowercase().as_str() {
            "host" | "hostsni" | "hostheader" => {
                let named = !arguments.is_empty() && arguments.iter().all(|host| !host.is_empty() && host != "*");
                self.rule.hosts.extend(arguments.iter().map(|host| host.to_ascii_lowercase()));
                named
            }
            "pathprefix" | "path" => {
                self.rule.paths.extend(arguments);
                false
            }
            "hostregexp" | "hostsniregexp" => {
                self.rule.patterns.extend(arguments);
                self.rule.patterns.iter().all(|pattern| !pattern.is_empty())
            }
            "pathregexp" | "headers" | "header" | "headersregexp" | "headerregexp" | "method" | "query"
            | "queryregexp" | "clientip" | "alpn" => false,
            _ => {
                self.rule.unclear.push(word);
                false
            }
        }
    }

    fn arguments(&mut self) -> Option<Vec<String>> {
        if !self.sign('(') {
            return None;
        }
        let mut arguments = Vec::new();
        loop {
            match self.tokens.get(self.at) {
                Some(Token::Text(text)) => arguments.push(text.clone()),
                Some(Token::Sign(')')) => {
                    self.at += 1;
                    return Some(arguments);
                }
                Some(Token::Sign(',')) => {}
                _ => return None,
            }
            self.at += 1;
        }
    }

    fn sign(&mut self, sign: char) -> bool {
        let there = self.tokens.get(self.at) == Some(&Token::Sign(sign));
        self.at += usize::from(there);
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        for (text, hosts, paths, bound) in [
            ("Host(`a.b`)", "a.b", "", true),
            ("Host(`a.b`, `www.a.b`)", "a.b,www.a.b", "", true),
            ("Host(\"A.b\")", "a.b", "", true),
            ("Host('a.b') || Host(`c.d`)", "a.b,c.d", "", true),
            ("Host(`a.b`) && PathPrefix(`/x`)", "a.b", "/x", true),
            ("(Host(`a.b`) || Host(`c.d`)) && (PathPrefix(`/x`) || Path(`/y`))", "a.b,c.d", "/x,/y", true),
            ("Host(`a.b`) && !Path(`/admin`)", "a.b", "/admin", true),
            ("HostSNI(`a.b`)", "a.b", "", true),
            ("Host(`a.b`) && Method(`GET`,`POST`)", "a.b", "", true),
            ("HostSNI(`*`)", "*", "", false),
            ("Host(`a.b`) || PathPrefix(`/x`)", "a.b", "/x", false),
            ("PathPrefix(`/`)", "", "/", false),
            ("!Host(`a.b`)", "", "", false),
            ("HostRegexp(`.*`)", "", "", true),
            ("Host(`a.b`) || HostRegexp(`.*`)", "a.b", "", true),
            ("!HostRegexp(`.*`)", "", "", false),
            ("HostRegexp()", "", "", false),
            ("Host(`a.b`) && Magic(`x`)", "a.b", "", false),
            ("Host(``)", "", "", false),
            ("Host()", "", "", false),
            ("", "", "", false),
            ("Host(`a.b`) Host(`c.d`)", "a.b", "", false),
            ("Host(`a.b`", "", "", false),
            ("((Host(`a.b`))", "a.b", "", false),
            ("Host(\"a.b\\x00\")", "", "", false),
            ("Host(`a.b`) // Host(`c.d`)", "a.b", "", false),
        ] {
            let rule = parse_rule(text);
            assert_eq!(rule.hosts.join(","), hosts, "{text}");
            assert_eq!(rule.paths.join(","), paths, "{text}");
            assert_eq!(rule.bound_to_hosts, bound, "{text}: {rule:?}");
        }
        assert!(!parse_rule(&"(".repeat(10_000)).bound_to_hosts);
    }

    #[test]
    fn routes_of_a_service() {
        let labels: Labels = [
            ("traefik.enable", "true"),
            ("traefik.http.services.blog.loadbalancer.server.port", "4000"),
            ("traefik.http.routers.blog.rule", "Host(`blog.ci`, `www.blog.ci`)"),
            ("traefik.http.routers.blog.entrypoints", "web-secure"),
            ("traefik.http.routers.blog.middlewares", "a, b@file"),
            ("traefik.http.routers.api.rule", "Host(`blog.ci`) && PathPrefix(`/api`)"),
            ("traefik.http.routers.api.service", "api"),
            ("traefik.http.services.api.loadbalancer.server.port", "5000"),
            ("traefik.tcp.routers.ssh.rule", "HostSNI(`*`)"),
        ]
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
        let seen: Vec<String> = routes("app", &labels)
            .iter()
            .map(|r| format!("{:?} {} {} {:?} {:?}", r.protocol, r.router, r.hosts.join(","), r.path_prefix, r.port))
            .collect();
        assert_eq!(
            seen,
            [
                "Http api blog.ci Some(\"/api\") Some(5000)",
                "Http blog blog.ci,www.blog.ci None Some(4000)",
                "Tcp ssh * None None",
            ]
        );
        let off: Labels = labels.into_iter().filter(|(key, _)| key != "traefik.enable").collect();
        assert!(routes("app", &off).is_empty());
    }
}
