// Shows one group of cases, or all: the part of the address after # says which. Without script the page shows all.
"use strict";
const sections = [...document.querySelectorAll("main > section")];
const links = [...document.querySelectorAll("#groups a")];
function show() {
  const wanted = decodeURIComponent(location.hash.slice(1));
  const only = sections.some((section) => section.id === wanted) ? wanted : "";
  for (const section of sections) section.hidden = only !== "" && section.id !== only;
  for (const link of links) {
    if (link.hash === "#" + (only || "all")) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  const place = document.getElementById(wanted);
  if (place) place.scrollIntoView();
}
addEventListener("hashchange", show);
show();
