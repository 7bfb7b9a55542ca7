// Show the rows that contain every typed word, and their number.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const rows = [...table.tBodies[0].rows];
  const label = document.createElement("label"), input = document.createElement("input");
  const count = document.createElement("span"), box = document.createElement("div");
  input.type = "search";
  input.placeholder = `words in a row, as in ${table.dataset.example}`;
  input.setAttribute("aria-label", `Filter: ${table.caption.textContent}`);
  label.append("Filter ", input);
  count.setAttribute("role", "status");
  count.setAttribute("aria-live", "polite");
  count.className = "quiet";
  box.className = "filter";
  box.append(label, count);
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const cells = [...row.cells].map(cell => cell.textContent.trim().toLowerCase());
      // A number must match a whole cell, or 8 would also match 0.758.
      row.hidden = !words.every(word => cells.some(cell => isNaN(word) ? cell.includes(word) : cell === word));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length} ${table.dataset.sortable} shown`;
  };
  input.addEventListener("input", filter);
  filter();
  table.closest(".scroll").before(box);
}
// Sort a table by a column: numbers as numbers, missing values always last. The buttons are created
// here, so that a page without scripts shows plain heads.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = row => row.cells[index].dataset.key ?? row.cells[index].textContent;
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const x = key(a), y = key(b);
        if (x === "" || y === "") return (x === "") - (y === "");
        const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
        return down ? -order : order;
      });
      table.tBodies[0].append(...rows);
    });
  });
}
