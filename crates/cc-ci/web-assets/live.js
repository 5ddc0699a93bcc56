// Makes a run's page live. Without it the page shows the same, as it was when it was loaded.
//
// Text from the run is only ever set as text, never as markup. The browser itself reconnects and names the last event it
// has seen; the server then goes on after it.
(function () {
  "use strict";
  var live = document.getElementById("live");
  if (!live || !window.EventSource) return;
  var state = document.getElementById("state");
  var doing = document.getElementById("doing");
  var link = document.getElementById("link");
  var longest = 400000;

  function stageOf(name) {
    return /^[a-z]+$/.test(name) ? live.querySelector('[data-stage="' + name + '"]') : null;
  }

  function add(stage, text) {
    var box = stage.querySelector("[data-logbox]");
    var log = stage.querySelector("[data-log]");
    if (!log) return;
    var atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    if (box && !log.firstChild) box.open = true;
    log.appendChild(document.createTextNode(text + "\n"));
    while (log.textContent.length > longest && log.childNodes.length > 1) log.removeChild(log.firstChild);
    if (atEnd) log.scrollTop = log.scrollHeight;
  }

  // The server draws the timeline; when a stage has ended, its drawing takes the place of the old one.
  function drawLanes() {
    var old = document.getElementById("lanes");
    if (!old || !window.fetch || !window.DOMParser) return;
    fetch(window.location.pathname, { credentials: "same-origin" })
      .then(function (answer) { return answer.ok ? answer.text() : ""; })
      .then(function (text) {
        var fresh = new DOMParser().parseFromString(text, "text/html").getElementById("lanes");
        old = document.getElementById("lanes");
        if (fresh && old) old.replaceWith(document.importNode(fresh, true));
      })
      .catch(function () {});
  }

  var source = new EventSource("/runs/" + live.dataset.run + "/events?after=" + encodeURIComponent(live.dataset.after));
  source.onopen = function () { link.textContent = "(live)"; };
  source.onerror = function () { link.textContent = "(connecting again …)"; };
  source.addEventListener("line", function (event) {
    var told = JSON.parse(event.data);
    var stage = stageOf(told.stage);
    if (!stage) return;
    add(stage, told.text);
    var mark = stage.querySelector("[data-mark]");
    if (mark.textContent.indexOf("to come") >= 0) {
      mark.textContent = "▶ running";
      mark.className = "mark busy";
    }
  });
  source.addEventListener("stage", function (event) {
    var told = JSON.parse(event.data);
    var stage = stageOf(told.stage);
    if (!stage) return;
    var mark = stage.querySelector("[data-mark]");
    mark.textContent = told.sign + " " + told.word;
    mark.className = "mark " + (/^[a-z]+$/.test(told["class"]) ? told["class"] : "none");
    stage.querySelector("[data-took]").textContent = told.took;
    drawLanes();
  });
  source.addEventListener("progress", function (event) {
    var told = JSON.parse(event.data);
    doing.textContent = told.doing || "–";
    state.textContent = told.sign + " " + told.state;
  });
  source.addEventListener("attempt", function () {
    // Everything on the page belongs to the attempt before.
    source.close();
    window.location.reload();
  });
  source.addEventListener("end", function () {
    source.close();
    window.location.reload();
  });
})();
