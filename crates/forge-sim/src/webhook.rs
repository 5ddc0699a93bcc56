//! Webhook deliveries: choosing the hooks, writing the bytes, signing them, sending them once.
//!
//! There is no retry: a delivery that fails is lost, as it is with the real server. The signature
//! covers the JSON text; in form mode that is not the body. Delivery order is only kept while one
//! worker sends.

use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha1::Sha1;
use sha2::Sha256;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{Semaphore, watch};

use crate::config::Flavour;
use crate::faults::DeliveryFault;
use crate::hook_events::{HookEvent, glob};
use crate::server::Shared;
use crate::world::{Delivery, DeliveryResult, HeadMoved, Hook, HookTarget, Id, World};

/// Characters of a receiver's answer that are kept.
const RESPONSE_KEPT: usize = 2_000;

/// Work done after the request that caused it has been answered.
#[derive(Debug)]
pub(crate) enum Job {
    /// Send the delivery with this index.
    Deliver(usize),
    /// Let `refs/pull/N/head` follow after a while.
    PullRef { moved: HeadMoved, millis: u64 },
    /// Send the deliveries held back for reordering.
    ReleaseHeld,
}

/// Queue of later work, with a count of what is still under way.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    jobs: UnboundedSender<Job>,
    pending: watch::Sender<usize>,
}

impl Outbox {
    pub(crate) fn new(jobs: UnboundedSender<Job>) -> Self {
        Self { jobs, pending: watch::Sender::new(0) }
    }

    /// Queues work. After the end of the simulator it is dropped.
    pub(crate) fn push(&self, job: Job) {
        self.pending.send_modify(|n| *n += 1);
        if self.jobs.send(job).is_err() {
            self.done();
        }
    }

    pub(crate) fn done(&self) {
        self.pending.send_modify(|n| *n = n.saturating_sub(1));
    }

    /// To wait until nothing is under way.
    pub(crate) fn watch(&self) -> watch::Receiver<usize> {
        self.pending.subscribe()
    }
}

/// Queues an event for every active hook that listens to it: the repository's and its owner's.
pub(crate) fn fire(world: &mut World, repo: Id, event: HookEvent, branch: Option<&str>, payload: &Value) {
    if world.switches.webhooks_disabled {
        return;
    }
    let owner = world.repos.get(&repo).map(|r| r.owner);
    let listening: Vec<Hook> = world
        .hooks
        .values()
        .filter(|h| match h.target {
            HookTarget::Repo(id) => id == repo,
            HookTarget::Org(id) | HookTarget::User(id) => Some(id) == owner,
        })
        .filter(|h| h.active && h.events.contains(&event))
        .filter(|h| !event.is_branch_filtered() || branch.is_none_or(|b| glob(&h.branch_filter, b)))
        .cloned()
        .collect();
    if listening.is_empty() {
        return;
    }
    let text = body_text(payload, world.switches.html_escape);
    for hook in listening {
        queue(world, &hook, event, &text);
    }
}

/// Queues one event for one hook, whatever it listens to.
pub(crate) fn queue(world: &mut World, hook: &Hook, event: HookEvent, text: &str) {
    if !matches!(hook.kind.as_str(), "gitea" | "gogs" | "forgejo") {
        return;
    }
    let uuid = uuid::Uuid::new_v4().to_string();
    let headers = headers(world.flavour, hook, event, &uuid, text);
    let body = match hook.content_type.as_str() {
        "form" => {
            let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
            format!("payload={encoded}").into_bytes()
        }
        _ => text.as_bytes().to_vec(),
    };
    let delivery = Delivery {
        uuid,
        hook: hook.id,
        url: hook.url.clone(),
        event: event.event().to_owned(),
        event_type: event.event_type().to_owned(),
        headers,
        body,
        payload: text.to_owned(),
        queued: world.now(),
        result: None,
        fault: None,
        sent: 0,
    };
    enqueue(world, delivery);
}

/// Queues a delivery again under a new id with the same bytes, as the web page's button does.
/// Returns the new id, `None` when the old one is unknown.
pub(crate) fn redeliver(world: &mut World, uuid: &str) -> Option<String> {
    let mut again = world.deliveries.iter().find(|d| d.uuid == uuid)?.clone();
    again.uuid = uuid::Uuid::new_v4().to_string();
    for (name, value) in &mut again.headers {
        if name.ends_with("-Delivery") {
            value.clone_from(&again.uuid);
        }
    }
    again.queued = world.now();
    (again.result, again.fault, again.sent) = (None, None, 0);
    let new = again.uuid.clone();
    enqueue(world, again);
    Some(new)
}

fn enqueue(world: &mut World, delivery: Delivery) {
    world.deliveries.push(delivery);
    let index = world.deliveries.len() - 1;
    world.outbox.push(Job::Deliver(index));
}

/// The JSON text as the server writes it: two spaces, no line end after it.
pub(crate) fn body_text(payload: &Value, html_escape: bool) -> String {
    let text = serde_json::to_string_pretty(payload).unwrap_or_default();
    if html_escape { escape_html(&text) } else { text }
}

/// Escapes what a browser could misread. Such characters only occur inside JSON strings.
pub(crate) fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            other => out.push(other),
        }
    }
    out
}

/// Lower-case hex of HMAC-SHA256; empty without a secret.
fn sha256_signature(secret: &str, text: &str) -> String {
    if secret.is_empty() {
        return String::new();
    }
    Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_or_else(
        |_| String::new(),
        |mut mac| {
            mac.update(text.as_bytes());
            hex::encode(mac.finalize().into_bytes())
        },
    )
}

fn sha1_signature(secret: &str, text: &str) -> String {
    if secret.is_empty() {
        return String::new();
    }
    Hmac::<Sha1>::new_from_slice(secret.as_bytes()).map_or_else(
        |_| String::new(),
        |mut mac| {
            mac.update(text.as_bytes());
            hex::encode(mac.finalize().into_bytes())
        },
    )
}

fn headers(flavour: Flavour, hook: &Hook, event: HookEvent, uuid: &str, text: &str) -> Vec<(String, String)> {
    let signature = sha256_signature(&hook.secret, text);
    let target = match hook.target {
        HookTarget::Repo(_) => "repository",
        HookTarget::Org(_) => "organization",
        HookTarget::User(_) => "user",
    };
    let content_type = match hook.content_type.as_str() {
        "form" => "application/x-www-form-urlencoded",
        _ => "application/json",
    };
    let mut out = vec![("Content-Type".to_owned(), content_type.to_owned())];
    let mut add = |name: String, value: &str| out.push((name, value.to_owned()));
    if flavour == Flavour::Forgejo {
        add_family(&mut add, "X-Forgejo", event, uuid, Some(&signature));
    }
    add_family(&mut add, "X-Gitea", event, uuid, Some(&signature));
    add_family(&mut add, "X-Gogs", event, uuid, Some(&signature));
    if flavour == Flavour::Gitea {
        add("X-Gitea-Hook-Installation-Target-Type".to_owned(), target);
    }
    add("X-Hub-Signature".to_owned(), &format!("sha1={}", sha1_signature(&hook.secret, text)));
    add("X-Hub-Signature-256".to_owned(), &format!("sha256={signature}"));
    add_family(&mut add, "X-GitHub", event, uuid, None);
    if flavour == Flavour::Gitea {
        add("X-GitHub-Hook-Installation-Target-Type".to_owned(), target);
    }
    if !hook.authorization.is_empty() {
        add("Authorization".to_owned(), &hook.authorization);
    }
    // In the order of their names, as Go writes them.
    out.sort();
    out
}

fn add_family(add: &mut impl FnMut(String, &str), prefix: &str, event: HookEvent, uuid: &str, signature: Option<&str>) {
    add(format!("{prefix}-Delivery"), uuid);
    add(format!("{prefix}-Event"), event.event());
    add(format!("{prefix}-Event-Type"), event.event_type());
    if let Some(signature) = signature {
        add(format!("{prefix}-Signature"), signature);
    }
}

/// Does the queued work until the simulator ends.
pub(crate) async fn run(shared: Arc<Shared>, mut jobs: UnboundedReceiver<Job>) {
    let mut held: Vec<usize> = Vec::new();
    let (outbox, workers) = {
        let world = shared.world();
        (world.outbox.clone(), Arc::new(Semaphore::new(world.switches.hook_workers.max(1))))
    };
    while let Some(job) = jobs.recv().await {
        match job {
            Job::PullRef { moved, millis } => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(millis)).await;
                    let mut world = shared.world();
                    crate::refs::follow(&mut world, moved);
                    world.outbox.done();
                });
            }
            Job::ReleaseHeld => {
                for index in held.drain(..) {
                    send(&shared, index).await;
                }
                outbox.done();
            }
            Job::Deliver(index) => {
                let fault = take_fault(&shared, index);
                match fault {
                    Some(DeliveryFault::Lost) => outbox.done(),
                    Some(DeliveryFault::Reordered) => {
                        held.push(index);
                        outbox.done();
                    }
                    Some(DeliveryFault::Late { millis }) => {
                        let shared = Arc::clone(&shared);
                        tokio::spawn(async move {
                            tokio::time::sleep(Duration::from_millis(millis)).await;
                            send(&shared, index).await;
                            shared.world().outbox.done();
                        });
                    }
                    doubled_or_none => {
                        let times = if doubled_or_none.is_some() { 2 } else { 1 };
                        let later: Vec<usize> = std::mem::take(&mut held);
                        let Ok(permit) = Arc::clone(&workers).acquire_owned().await else { break };
                        let (shared, outbox) = (Arc::clone(&shared), outbox.clone());
                        tokio::spawn(async move {
                            for _ in 0..times {
                                send(&shared, index).await;
                            }
                            for index in later {
                                send(&shared, index).await;
                            }
                            drop(permit);
                            outbox.done();
                        });
                    }
                }
            }
        }
    }
}

fn take_fault(shared: &Shared, index: usize) -> Option<DeliveryFault> {
    let mut world = shared.world();
    let kind = world.deliveries.get(index)?.event_type.clone();
    let fault = world.faults.take_delivery(&kind)?;
    let name = match fault {
        DeliveryFault::Lost => "lost",
        DeliveryFault::Doubled => "doubled",
        DeliveryFault::Reordered => "reordered",
        DeliveryFault::Late { .. } => "late",
    };
    world.deliveries[index].fault = Some(name.to_owned());
    Some(fault)
}

/// Sends the bytes once and records how it went.
async fn send(shared: &Shared, index: usize) {
    let (delivery, local, timeout) = {
        let mut world = shared.world();
        let Some(delivery) = world.deliveries.get_mut(index) else { return };
        delivery.sent += 1;
        let delivery = delivery.clone();
        (delivery, world.switches.local_hooks, Duration::from_millis(world.switches.deliver_timeout_ms))
    };
    let result = if !local && is_local(&delivery.url) {
        Err("webhook can only call allowed HTTP servers (check your webhook.ALLOWED_HOST_LIST setting)".to_owned())
    } else {
        post(&shared.http, &delivery, timeout).await
    };
    let result = match result {
        Ok((status, response)) => DeliveryResult { status: Some(status), response, error: None },
        Err(error) => DeliveryResult { status: None, response: String::new(), error: Some(error) },
    };
    if let Some(delivery) = shared.world().deliveries.get_mut(index) {
        delivery.result = Some(result);
    }
}

async fn post(http: &reqwest::Client, delivery: &Delivery, timeout: Duration) -> Result<(u16, String), String> {
    let mut request = http.post(&delivery.url).timeout(timeout).body(delivery.body.clone());
    for (name, value) in &delivery.headers {
        request = request.header(name, value);
    }
    let answer = request.send().await.map_err(|e| chain(&e))?;
    let status = answer.status().as_u16();
    let text = answer.text().await.map_err(|e| chain(&e))?;
    Ok((status, text.chars().take(RESPONSE_KEPT).collect()))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Whether a URL names a loopback or private address by number, or `localhost`.
pub(crate) fn is_local(text: &str) -> bool {
    let Ok(parsed) = url::Url::parse(text) else { return false };
    match parsed.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback() || (ip.segments()[0] & 0xfe00) == 0xfc00,
        None => false,
    }
}
