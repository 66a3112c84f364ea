// A link that changes the order takes the runs along that are ticked but not sent yet.
"use strict";

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-keeps-ticks]");
  const form = document.getElementById("history");
  if (!link || !form) return;
  const url = new URL(link.href);
  url.searchParams.delete("run");
  for (const run of new FormData(form).getAll("run")) url.searchParams.append("run", run);
  link.href = url.href;
});
