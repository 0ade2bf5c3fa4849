// The page is made by the relay; this only fetches it again and swaps the middle, so that nothing jumps or flickers.
"use strict";
const EVERY_MS = 5000;
const stale = document.getElementById("stale");
async function refresh() {
  try {
    const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(EVERY_MS) });
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector("main").replaceWith(page.querySelector("main"));
    document.title = page.title;
    stale.hidden = true;
  } catch {
    stale.hidden = false;
  }
  setTimeout(refresh, EVERY_MS);
}
setTimeout(refresh, EVERY_MS);
