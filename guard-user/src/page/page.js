// Puts what is new in the place of what was, part by part. Without it the page is loaded anew every ten seconds.
"use strict";
(() => {
  const EVERY = 2000;
  const said = document.getElementById("connection");
  const hold = document.getElementById("hold");
  let held = false;

  const tell = (text) => {
    // The same text is not read out again.
    if (said.textContent !== text) said.textContent = text;
  };

  hold.hidden = false;
  hold.addEventListener("click", () => {
    held = !held;
    hold.setAttribute("aria-pressed", String(held));
  });

  const put = (html) => {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    for (const part of fresh.querySelectorAll("[data-part]")) {
      const old = document.querySelector(`[data-part="${CSS.escape(part.dataset.part)}"]`);
      // What has the keyboard stays until it is left.
      if (old === null || old.contains(document.activeElement)) continue;
      if (old.innerHTML !== part.innerHTML) old.replaceChildren(...part.childNodes);
    }
  };

  const look = async () => {
    if (!held && !document.hidden) {
      try {
        const answer = await fetch("/live", { cache: "no-store", credentials: "same-origin" });
        if (!answer.ok) throw new Error(await answer.text());
        put(await answer.text());
        tell("");
      } catch (error) {
        tell(`Not up to date: \`borderguard page\` does not answer (${error.message}). It is asked again.`);
      }
    }
    setTimeout(look, EVERY);
  };
  setTimeout(look, EVERY);
})();
