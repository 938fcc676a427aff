// What is wider than the page scrolls by itself; then the keyboard is to reach it as well.
const SCROLLS = "pre, div.math, dt.sig, .pst-scrollable-table-container, .course-scroll";
function reach() {
  for (const box of document.querySelectorAll(SCROLLS)) {
    if (box.scrollWidth > box.clientWidth) box.setAttribute("tabindex", "0");
  }
}
window.addEventListener("load", reach);

// The moving picture stands still for those who prefer that, and for everybody at the press of a button.
document.addEventListener("DOMContentLoaded", () => {
  for (const film of document.querySelectorAll(".course-film")) {
    const [image, button] = ["img", "button"].map((name) => film.querySelector(name));
    const [still, moving] = [image.getAttribute("src"), image.dataset.film];
    const play = (on) => {
      image.src = on ? moving : still;
      button.textContent = on ? "Pause" : "Play";
    };
    button.addEventListener("click", () => play(image.getAttribute("src") === still));
    button.hidden = false;
    play(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  }
});
