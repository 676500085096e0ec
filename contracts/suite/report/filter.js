// Filter and search: nothing on the page depends on it.
"use strict";
(() => {
  const bar = document.getElementById("filter");
  if (!bar) return;
  const words = bar.querySelector("input[type=search]");
  const boxes = [...bar.querySelectorAll("input[type=checkbox]")];
  const told = bar.querySelector("output");
  const checks = [...document.querySelectorAll(".check")].map((node) => ({
    node, labels: node.dataset.labels.split(" "), text: node.textContent.toLowerCase(),
  }));
  const methods = [...document.querySelectorAll(".method")];
  const apply = () => {
    const asked = words.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = boxes.filter((box) => box.checked).map((box) => box.value);
    let shown = 0;
    for (const { node, labels, text } of checks) {
      const fits = labels.some((label) => wanted.includes(label)) && asked.every((word) => text.includes(word));
      node.hidden = !fits;
      shown += fits;
    }
    for (const method of methods) {
      method.hidden = !method.querySelector(".check:not([hidden])");
      if (asked.length && !method.hidden) method.open = true;
    }
    told.textContent = `${shown} / ${checks.length}`;
  };
  bar.hidden = false;
  bar.addEventListener("input", apply);
  apply();
  const open = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let node = target; node; node = node.parentElement) {
      if (node.tagName === "DETAILS") node.open = true;
      node.hidden = false;
    }
    if (target) target.scrollIntoView();
  };
  addEventListener("hashchange", open);
  open();
})();
