// Keeps a page fresh: the relay says when there is news, the page is fetched again, and the parts that differ take the old ones' place.
"use strict";
(() => {
  if (!("live" in document.body.dataset) || !window.EventSource) return;
  const stale = document.getElementById("stale");
  let busy = false, wanted = false, source;

  // A part that somebody is using keeps what it shows.
  const inUse = (part) => part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea");
  const opened = (part) => new Set([...part.querySelectorAll("details[open][id]")].map((d) => d.id));

  function replace(fresh) {
    const now = new DOMParser().parseFromString(fresh, "text/html");
    const main = now.getElementById("main");
    if (!main) return;
    const parts = [...main.querySelectorAll("[data-part]")];
    const here = new Map([...document.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]));
    for (const part of parts) {
      const old = here.get(part.dataset.part);
      if (!old || inUse(old)) continue;
      const open = opened(old), focus = old.contains(document.activeElement) ? document.activeElement.id : "";
      for (const id of open) part.querySelector("#" + CSS.escape(id))?.setAttribute("open", "");
      if (old.outerHTML === part.outerHTML) continue;
      old.replaceWith(part);
      if (focus) document.getElementById(focus)?.focus();
    }
  }

  async function fetchNews() {
    if (busy || document.hidden) { wanted = true; return; }
    busy = true; wanted = false;
    try {
      const answer = await fetch(location.href, { headers: { "x-posthaste-news": "1" }, credentials: "same-origin" });
      if (answer.status === 401) { location.reload(); return; }
      if (answer.ok) replace(await answer.text());
      stale.hidden = answer.ok;
    } catch { stale.hidden = false; }
    busy = false;
  }

  function listen() {
    source = new EventSource("/live");
    source.addEventListener("news", fetchNews);
    source.addEventListener("over", () => { source.close(); location.reload(); });
    source.onopen = () => { stale.hidden = true; };
    source.onerror = () => {
      stale.hidden = false;
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
    };
  }
  document.addEventListener("visibilitychange", () => { if (!document.hidden && wanted) fetchNews(); });
  listen();
})();
