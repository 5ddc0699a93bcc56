//! What a browser makes of hostile files and logs: nothing of them runs, nothing is asked for, nothing leads away.
//!
//! Whatever runs would ask these pages for `/pwned`, and the pages count what they were asked for and do not know. Without
//! Chromium these tests say so and check nothing.

use cc_ci::domain::FileRef;

use super::browser::{browse, chromium};
use super::support::{Served, served};

/// Tries every way to run, to load, and to lead away.
const PAYLOAD: &str = "<script>fetch('/pwned')</script><img src=/pwned onerror=\"fetch('/pwned')\">\
    <style>@import '/pwned';</style><link rel=stylesheet href=/pwned><iframe src=/pwned></iframe>\
    <meta http-equiv=refresh content='0;url=/pwned'><object data=/pwned></object><base href=//evil.example/>\
    <a href=https://evil.example/>click</a><a href=\"javascript:fetch('/pwned')\">click</a>";

/// How often the pages were asked for something that they do not have.
async fn strange(served: &Served) -> f64 {
    let text = served.get("/metrics").await.text;
    let lines =
        text.lines().filter(|line| line.starts_with("ccci_http_requests_total{") && line.contains("\"unknown\""));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

fn svg() -> String {
    "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" onload=\"fetch('/pwned')\">\
     <script>fetch('/pwned')</script><image xlink:href=\"/pwned\"/><use href=\"/pwned#x\"/>\
     <foreignObject><body xmlns=\"http://www.w3.org/1999/xhtml\"><img src=\"/pwned\"/></body></foreignObject></svg>"
        .to_owned()
}

#[tokio::test]
async fn no_file_of_a_run_can_do_anything() {
    let Some(program) = chromium() else { return };
    let served = served().await;
    let number = served.newest_judged().await;
    let gif = format!("GIF89a/*{PAYLOAD}*/=fetch('/pwned')");
    let pdf = "%PDF-1.7\n1 0 obj<</Type/Catalog/OpenAction<</S/URI/URI(/pwned)>>>>endobj\ntrailer<</Root 1 0 R>>\n";
    // The first three are shown, since cc-ci makes them itself; here their place was taken.
    let files: [(&str, Vec<u8>); 8] = [
        ("summary.svg", svg().into_bytes()),
        ("summary.png", PAYLOAD.into()),
        (
            "logs/install.log",
            [PAYLOAD.as_bytes(), b"\xff\xfe\x1b]8;;javascript:fetch('/pwned')\x07click\x1b]8;;\x07"].concat(),
        ),
        ("page.html", PAYLOAD.into()),
        ("page.svg", svg().into_bytes()),
        ("page.gif", gif.into_bytes()),
        ("page.pdf", pdf.into()),
        ("page.xhtml", format!("<html xmlns=\"http://www.w3.org/1999/xhtml\">{PAYLOAD}</html>").into_bytes()),
    ];
    let id = served
        .replace_record(number, |run| {
            run.files =
                files.iter().map(|(path, _)| FileRef { path: (*path).into(), bytes: 1, about: "x".into() }).collect();
        })
        .await;
    let folder = served.runs_dir.join(id.as_str());
    for (path, bytes) in &files {
        std::fs::write(folder.join(path), bytes).unwrap();
    }
    for (at, (path, _)) in files.iter().enumerate() {
        let url = served.url(&format!("/runs/{number}/files/{path}"));
        let answer = served.get(&format!("/runs/{number}/files/{path}")).await;
        assert_eq!(answer.header("content-disposition").starts_with("attachment"), at > 2, "{path}");
        if at > 2 {
            // A download opens nothing, so it is enough that the browser is told to make one of it.
            assert_eq!(answer.header("content-type"), "application/octet-stream", "{path}");
            continue;
        }
        browse(&program, &url, true, &["--dump-dom".to_owned()]).await;
        assert_eq!(strange(&served).await, 0.0, "{path}");
    }
    // The proof that the count would have seen it.
    served.get("/pwned").await;
    assert_eq!(strange(&served).await, 1.0);
}

#[tokio::test]
async fn hostile_lines_stay_lines() {
    let Some(program) = chromium() else { return };
    let served = served().await;
    let logs = std::fs::read_dir(&served.runs_dir).unwrap().map(|entry| entry.unwrap().path().join("logs/upgrade.log"));
    let running = logs.filter(|path| path.exists()).find(|path| !path.with_file_name("custom.log").exists()).unwrap();
    // Longer than what is shown on the page.
    let mut text = "x".repeat(300_000).into_bytes();
    text.extend(format!("\n{PAYLOAD}\n").into_bytes());
    text.extend(
        b"\x1b[2J\x1b[31mred\x1b[0m \x1b]8;;https://evil.example/\x07link\x1b]8;;\x07 \x1b]52;c;cHduZWQ=\x07\n",
    );
    text.extend(b"\xff\xfe\xc3\x28 not UTF-8 \xf0\x9f\n\xe2\x80\xaeesrever\nthe end\n");
    std::fs::write(running, &text).unwrap();
    for script in [true, false] {
        let url = served.url(&format!("/runs/{}", served.running));
        let out = browse(&program, &url, script, &["--dump-dom".to_owned()]).await;
        let dom = out.stdout.text();
        assert!(dom.contains("the end") && dom.contains("&lt;script&gt;fetch('/pwned')"), "it is shown as text: {dom}");
        let complaints: Vec<String> = out
            .stderr
            .text()
            .lines()
            .filter(|line| line.contains("Content Security Policy"))
            .map(str::to_owned)
            .collect();
        assert!(complaints.is_empty(), "{complaints:#?}");
        for part in ["<base", "<iframe", "<object", "<meta http-equiv", "\u{1b}", "\u{202e}", "\u{9d}"] {
            assert!(!dom.contains(part), "{part:?} in {dom}");
        }
        // Whatever stands in a tag; in text, `<` would be `&lt;`.
        let tags = dom.split('<').skip(1).filter_map(|rest| rest.split('>').next());
        let places =
            tags.flat_map(|tag| [" href=\"", " src=\""].into_iter().filter_map(move |name| tag.split(name).nth(1)));
        for place in places.map(|rest| rest.split('"').next().unwrap()) {
            let ours =
                place.starts_with('/') || place.starts_with('#') || place.starts_with("https://git.coopcloud.tech/");
            assert!(ours && !place.starts_with("//"), "{place}");
        }
    }
    assert_eq!(strange(&served).await, 0.0);
}

#[test]
fn the_script_sets_text_and_never_markup() {
    let script = include_str!("../../web-assets/live.js");
    for word in ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function(", "setAttribute"] {
        assert!(!script.contains(word), "{word}");
    }
    assert!(script.contains("createTextNode"));
}
