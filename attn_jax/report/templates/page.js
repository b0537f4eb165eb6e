"use strict";
// Tables sort by their headings, and Escape closes an enlarged picture; without this script the page lacks only that.
for (const table of document.querySelectorAll("table.sortable")) {
  table.caption.firstElementChild.append(Object.assign(document.createElement("span"), { className: "hint", textContent: " Headings sort." }));
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const numeric = head.classList.contains("number");
      const was = head.getAttribute("aria-sort");
      const down = was ? was === "ascending" : numeric;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      const order = (row) => row.cells[column].dataset.order;
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [order(a), order(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const way = numeric ? x - y : x.localeCompare(y, undefined, { numeric: true });
        return down ? -way : way;
      });
      body.append(...rows);
    });
  });
}
document.addEventListener("keydown", (event) => {
  const open = event.key === "Escape" && document.querySelector("figure.picture:target .close");
  if (open) open.click();
});
