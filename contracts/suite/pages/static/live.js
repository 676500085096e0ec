// Shows the progress of a run as it goes; without it the page asks anew every three seconds.
"use strict";
(() => {
  const box = document.querySelector("[data-live]");
  if (!box) return;
  const look = async () => {
    try {
      const answer = await fetch(box.dataset.live, { credentials: "same-origin" });
      if (!answer.ok) throw new Error(String(answer.status));
      box.innerHTML = await answer.text();
      if (box.querySelector("[data-going-on=no]")) return location.reload();
    } catch {
      // The program may be away for a moment; the next look tells.
    }
    setTimeout(look, 1000);
  };
  setTimeout(look, 500);
})();
