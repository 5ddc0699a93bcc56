use super::*;

fn none(_: &str) -> Option<String> {
    None
}

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), "abc123\n").unwrap();
        std::fs::write(dir.path().join("secret"), "0123456789abcdef0123456789abcdef\n").unwrap();
        Self { dir }
    }

    fn file(&self, more: &str) -> String {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        format!(
            "[forge]\nurl = \"https://git.test\"\ntoken_file = {:?}\nwebhook_secret_files = [{:?}]\nrepositories = [\"a/b\"]\n{more}",
            at("token"),
            at("secret")
        )
    }

    fn config(&self, more: &str) -> Result<Config, String> {
        let text = self.file(more);
        let layers = Layers::of(Some(("cc-ci.toml", &text)), none).map_err(|error| error.to_string())?;
        Config::resolve(&layers).map_err(|error| error.to_string())
    }
}

#[test]
fn the_defaults_are_whole_and_what_is_needed_is_asked_for() {
    let layers = Layers::of(None, none).unwrap();
    let error = Config::resolve(&layers).unwrap_err().to_string();
    assert_eq!(error, "forge.url: is not set; set it in /etc/cc-ci/cc-ci.toml or as $CC_CI_FORGE_URL");
    let config = Place::new().config("[runs]\ndir = \"/srv/ci\"\n").unwrap();
    assert_eq!(config.runs.slots, 2);
    assert_eq!(config.queue().lease, SignedDuration::from_mins(10));
    assert_eq!(config.server.public_url.as_str(), "http://127.0.0.1:8420/");
    assert_eq!(config.runs.dir, Path::new("/srv/ci"));
}

#[test]
fn code_comes_over_plain_http_only_from_a_forge_that_is_asked_that_way() {
    let place = Place::new();
    let text = place.file("");
    for (url, want) in [
        ("https://git.test", None),
        ("http://git.lan:3000/forge", Some("git.lan")),
        ("http://10.0.0.7", Some("10.0.0.7")),
    ] {
        let env = |name: &str| (name == "CC_CI_FORGE_URL").then(|| url.to_owned());
        let layers = Layers::of(Some(("cc-ci.toml", &text)), env).unwrap();
        assert_eq!(Config::resolve(&layers).unwrap().forge.http_host().as_deref(), want, "{url}");
    }
}

#[test]
fn every_key_has_a_comment_before_it() {
    let mut commented = false;
    for line in DEFAULTS.lines() {
        match line {
            "" => commented = false,
            line if line.starts_with('#') => commented = true,
            line if line.starts_with('[') => {}
            line => assert!(commented, "{line} has no comment"),
        }
    }
}

#[test]
fn mistakes_are_told_with_line_and_remedy() {
    let place = Place::new();
    let table = [
        (
            "[runs]\nslot = 3\n",
            "cc-ci.toml:7: there is no setting `runs.slot` (did you mean `runs.slots`?); see `cc-ci serve --print-config`",
        ),
        ("[runs]\nslots = \"3\"\n", "cc-ci.toml:7: `runs.slots` must be a number, as in `2`"),
        ("[runs]\nslots = 0\n", "cc-ci.toml:7: `runs.slots` is 0; it must be from 1 to 1000"),
        (
            "[runs]\ntimeout = \"1 fortnight\"\n",
            "cc-ci.toml:7: \"1 fortnight\" is no time; write it as in \"90s\", \"15m\", \"1h30m\"",
        ),
        ("[server]\nlisten = \"here\"\n", "cc-ci.toml:7: write an address and a port, as in \"127.0.0.1:8420\""),
        ("[web]\noauth_client_id = \"x\"\n", "cc-ci.toml:7: web.oauth_client_secret_file is missing; set both or none"),
    ];
    for (more, want) in table {
        assert_eq!(place.config(more).unwrap_err(), want);
    }
    assert!(place.config("[runs\n").unwrap_err().starts_with("cc-ci.toml:6: "));
    let text = place.file("").replace("[\"a/b\"]", "[\"a\"]");
    let layers = Layers::of(Some(("f", &text)), none).unwrap();
    assert_eq!(Config::resolve(&layers).unwrap_err().to_string(), "f:5: \"a\" is not of the form \"owner/name\"");
    std::fs::write(place.dir.path().join("secret"), "short").unwrap();
    assert!(place.config("").unwrap_err().contains("shorter than 32 bytes"));
}

#[test]
fn the_environment_goes_before_the_file() {
    let place = Place::new();
    let text = place.file("[runs]\nslots = 3\n");
    let env = |name: &str| match name {
        "CC_CI_RUNS_SLOTS" => Some("5".to_owned()),
        "CC_CI_FORGE_REPOSITORIES" => Some("x/y, z/w".to_owned()),
        _ => None,
    };
    let layers = Layers::of(Some(("f", &text)), env).unwrap();
    let config = Config::resolve(&layers).unwrap();
    assert_eq!((config.runs.slots, config.forge.repositories), (5, vec!["x/y".to_owned(), "z/w".to_owned()]));
    let manual = layers.manual();
    assert!(manual.contains("slots = 5  # $CC_CI_RUNS_SLOTS\n"), "{manual}");
    assert!(manual.contains("url = \"https://git.test\"  # f:2\n"), "{manual}");
    assert!(manual.contains("\nretries = 2\n"), "{manual}");
    let error = Layers::of(None, |name| (name == "CC_CI_RUNS_SLOTS").then(|| "many".to_owned())).unwrap_err();
    assert_eq!(error.to_string(), "$CC_CI_RUNS_SLOTS: runs.slots: \"many\" is not a number");
}

#[test]
fn what_is_printed_can_be_read_again() {
    let text = Place::new().file("[web]\ntitle = \"say \\\"hi\\\"\"\n");
    let layers = Layers::of(Some(("f", &text)), none).unwrap();
    let again = Layers::of(Some(("g", &layers.manual())), none).unwrap();
    assert_eq!(again.text("web.title").unwrap(), "say \"hi\"");
    assert_eq!(again.text("forge.url").unwrap(), "https://git.test");
}
