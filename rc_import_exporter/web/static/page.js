"use strict";

// Keeps the page up to date: fetches it again and changes only what differs. So nothing flickers, and the reader keeps
// the focus, the scroll position and a half-typed search. It also shows dates in the reader's time zone, copies
// commands, and reports in a notification what has ended or failed.
(() => {
  const lost = document.getElementById("lost");
  const notify = document.getElementById("notify");
  const swedish = { date: { dateStyle: "short" }, stamp: { dateStyle: "short", timeStyle: "medium" }, clock: { timeStyle: "short" } };
  let running = null;
  let timer = 0;

  function period() {
    const { refresh, refreshHidden } = document.body.dataset;
    return Number(document.hidden && Number(refresh) ? refreshHidden : refresh) * 1000;
  }

  // Swedish writes dates as ISO 8601 does: 2027-01-15 09:00:00.
  function local(instant, form) {
    const write = (each) => instant.toLocaleString("sv-SE", swedish[each]);
    const parts = new Intl.DateTimeFormat("en", { timeZoneName: "short" }).formatToParts(instant);
    const zone = parts.find((part) => part.type === "timeZoneName").value;
    const today = write("date") === new Date().toLocaleString("sv-SE", swedish.date);
    return `${form === "clock" && !today ? `${write("date")} ` : ""}${write(form)} ${zone}`;
  }

  // What the server's page cannot hold: the reader's time zone, and buttons that need this script.
  function prepare(page) {
    for (const time of page.querySelectorAll("time[class]")) time.textContent = local(new Date(time.dateTime), time.className);
    for (const command of page.querySelectorAll("pre")) {
      const button = page.createElement("button");
      const form = command.previousElementSibling;
      button.className = "copy";
      button.type = "button";
      button.textContent = "Copy";
      button.setAttribute("aria-label", form && form.matches(".form") ? `Copy for ${form.textContent}` : "Copy this text");
      command.before(button);
    }
  }

  // Also where a browser has no clipboard API, because the page came without TLS. What was copied stays selected.
  function copy(button) {
    getSelection().selectAllChildren(button.nextElementSibling);
    if (document.execCommand("copy")) button.textContent = "Copied";
  }

  function news(page) {
    const cards = [...page.querySelectorAll("[data-workspace]")].map((card) => card.dataset);
    return new Map(cards.map(({ workspace, level, restartSafe, told }) => [workspace, { level, restartSafe, told }]));
  }

  // An import also ends if nobody could see it for a while before. Until its end is known, a restart is not safe.
  function tell(before, after) {
    if (!notifies()) return;
    for (const [name, now] of after) {
      const then = before.get(name);
      const ended = then && then.restartSafe === "False" && now.restartSafe === "True";
      if (ended || (then && now.level === "critical" && then.level !== "critical")) new Notification(name, { body: now.told, tag: name });
    }
  }

  function notifies() {
    return "Notification" in window && Notification.permission === "granted" && localStorage.getItem("notify") === "yes";
  }

  function showButton() {
    notify.hidden = !("Notification" in window) || !isSecureContext || Notification.permission === "denied";
    notify.textContent = notifies() ? "Notifications are on: turn them off" : "Notify me when an import ends or fails";
  }

  async function toggle() {
    const on = !notifies() && (await Notification.requestPermission()) === "granted";
    localStorage.setItem("notify", on ? "yes" : "no");
    showButton();
  }

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
    prepare(page);
    tell(news(document), news(page));
    patch(document.getElementById("icon"), page.getElementById("icon"));
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
        lost.textContent = `The exporter has not answered since ${local(new Date(), "stamp")}. This page shows the state of then.`;
      }
    }
    if (running === mine) timer = setTimeout(refresh, period());
  }

  // A page in a background tab goes on, but less often: its title, its icon and its notifications are what is seen of it.
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && period()) refresh();
  });

  document.addEventListener("click", (event) => {
    if (event.target.matches(".copy")) copy(event.target);
    if (event.target === notify) toggle();
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

  prepare(document);
  showButton();
  // The runbook does not change, so it has no period.
  if (period()) timer = setTimeout(refresh, period());
})();
