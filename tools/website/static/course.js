// What is wider than the page scrolls by itself; then the keyboard is to reach it as well.
const SCROLLS = "pre, div.math, dt.sig, .pst-scrollable-table-container, .course-scroll";
function reach() {
  for (const box of document.querySelectorAll(SCROLLS)) {
    if (box.scrollWidth > box.clientWidth) box.setAttribute("tabindex", "0");
  }
}
window.addEventListener("load", reach);
window.addEventListener("resize", reach);
