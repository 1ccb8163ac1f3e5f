"use strict";

// Keeps the page up to date: fetches it again and changes only what differs. So nothing flickers, and the reader keeps
// the focus, the scroll position and a half-typed search.
(() => {
  const period = Number(document.body.dataset.refresh) * 1000;
  const lost = document.getElementById("lost");
  let running = null;
  let timer = 0;

  function patch(old, fresh) {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.nodeValue = fresh.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    patchChildren(old, fresh);
  }

  function patchChildren(old, fresh) {
    const named = new Map([...old.children].filter((each) => each.id).map((each) => [each.id, each]));
    let place = old.firstChild;
    for (const node of [...fresh.childNodes]) {
      const match = node.id ? named.get(node.id) : isLike(place, node) ? place : null;
      if (!match) {
        old.insertBefore(document.importNode(node, true), place);
        continue;
      }
      if (match === place) place = place.nextSibling;
      else old.insertBefore(match, place);
      patch(match, node);
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
  }

  function isLike(old, fresh) {
    return old && !old.id && old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName;
  }

  function show(text) {
    const page = new DOMParser().parseFromString(text, "text/html");
    const script = page.querySelector("script[src]");
    if (script && script.getAttribute("src") !== document.querySelector("script[src]").getAttribute("src")) {
      location.reload();
      return;
    }
    const focused = document.activeElement;
    patch(document.getElementById("content"), page.getElementById("content"));
    if (document.title !== page.title) document.title = page.title;
    if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
  }

  async function refresh() {
    clearTimeout(timer);
    if (running) running.abort();
    const mine = (running = new AbortController());
    try {
      const response = await fetch(location.href, { cache: "no-store", signal: mine.signal });
      if (!response.ok) throw new Error(String(response.status));
      show(await response.text());
      if (lost.textContent) lost.textContent = "";
    } catch {
      if (mine.signal.aborted) return;
      if (!lost.textContent) {
        lost.textContent = `The exporter has not answered since ${new Date().toLocaleTimeString()}. This page shows the state of then.`;
      }
    }
    if (running === mine) timer = setTimeout(refresh, period);
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      clearTimeout(timer);
      if (running) running.abort();
    } else refresh();
  });

  document.addEventListener("input", (event) => {
    if (event.target.id !== "q") return;
    const address = new URL(location.href);
    if (event.target.value) address.searchParams.set("q", event.target.value);
    else address.searchParams.delete("q");
    history.replaceState(null, "", address);
    clearTimeout(timer);
    timer = setTimeout(refresh, 150);
  });

  timer = setTimeout(refresh, period);
})();
