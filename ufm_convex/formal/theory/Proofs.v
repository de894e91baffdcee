(* The kinds of dual points, each a boolean that Coq computes and the bound that it proves. *)
From Coq Require Import Reals List ZArith QArith Qreals Lia Lra.
From UFM Require Import Model Sums Duality Losses Slack Compute Lower.
Import ListNotations.
Open Scope R_scope.

(* -- diagonal: v_k = -q_k (e_k - 1/K) --------------------------------------------------------------------------------- *)

Section Diagonal.
Variables (prec : precision) (P : coded) (q : list dyadic) (spent : dyadic * dyadic) (x : dyadic).
Notation ms := (multiplicities P).
Notation K := (classes P).
Notation l := (code_of P).
Definition strength r : Q := rational (nth r q (0, 0)%Z).
Definition away (r s : nat) : Q := (strength r * over (K_of P))%Q.
Definition toward r : Q := (- inject_Z (K_of P - 1) * (strength r * over (K_of P)))%Q.
Definition products : Q := (decay_w P spent * decay_h P spent)%Q.
Definition diagonal_conjugate r : I.type :=
  iadd prec (imul prec (iz prec (K_of P - 1)) (iconjugate prec l false (target_of P r r false) (away r r)))
            (iconjugate prec l true (target_of P r r true) (toward r)).
Definition diagonal_check : bool :=
  valid P && alike l && nonnegative P && spending spent && bias_fits P away toward
  && all (length ms) (fun r => Qle_bool 0 (strength r)
       && (if (count P r =? 0)%Z then true else in_domain l false (target_of P r r false) (away r r)
         && in_domain l true (target_of P r r true) (toward r))
       && Qle_bool ((share P r * strength r) * (share P r * strength r) * inject_Z (K_of P - 1))
                   (products * unit_square P r * inject_Z (K_of P)))
  &&& at_least prec (rational x) (isub prec (isub prec (value P prec diagonal_conjugate) (iq prec (price P spent - shift_value P away toward))) (bias_price P away toward prec)).

Lemma target_of_alike r s s' own : alike l = true -> target_of P r s own = target_of P r s' own.
Proof. unfold target_of, alike. destruct l; try reflexivity. discriminate. Qed.

Theorem diagonal_sound : diagonal_check = true -> lower_bound P x.
Proof.
unfold diagonal_check. intros H. apply lazy_prop in H as [H V]. apply andb_prop in H as [H C].
apply andb_prop in H as [H BF]. apply andb_prop in H as [H SP]. apply andb_prop in H as [H NN]. apply andb_prop in H as [ok A].
pose proof (all_true _ _ C) as C'. cbv beta in C'. clear C.
pose proof (ms_pos P ok) as MP. pose proof (K_pos P ok) as K0. pose proof (INR_K P ok) as KR. pose proof (K_of_pos P ok) as KZ.
assert (KR0 : 0 < IZR (K_of P)) by (apply IZR_lt; assumption).
assert (COL : forall k j, column P away toward k j = - Q2R (strength (run_of ms k)) * (one_hot k j - / INR K)).
{ intros k j. unfold column, away, toward, one_hot. rewrite KR. destruct (j =? k)%nat.
  - rewrite Q2R_mult, Q2R_opp, Q2R_IZR, Q2R_mult, over_R, minus_IZR by assumption. field. lra.
  - rewrite Q2R_mult, over_R by assumption. ring. }
assert (AWAY : forall r, Q2R (away r r) = Q2R (strength r) / IZR (K_of P)) by (intros; unfold away; rewrite Q2R_mult, over_R; auto).
apply (lower_by_columns P ok away toward spent prec diagonal_conjugate x); [|exact SP|exact BF| |].
- intros k L N. specialize (C' (run_of ms k) (run_of_lt ms k MP L)). apply andb_prop in C' as [C' _]. apply andb_prop in C' as [_ D].
  destruct (Z.eqb_spec (count P (run_of ms k)) 0) as [|_]; [lia|]. apply andb_prop in D as [D1 D2].
  repeat split.
  + unfold conjugate_sum. rewrite (sum_ext _ _ (fun j => if (j =? k)%nat
      then conjugate l true (Q2R (target_of P (run_of ms k) (run_of ms k) true)) (Q2R (toward (run_of ms k)))
      else conjugate l false (Q2R (target_of P (run_of ms k) (run_of ms k) false)) (Q2R (away (run_of ms k) (run_of ms k))))).
    * rewrite (sum_others K k (fun _ => conjugate l true _ _) (fun _ => conjugate l false _ _) L), sum_const, KR.
      unfold diagonal_conjugate.
      set (ct := conjugate l true _ _). set (cf := conjugate l false _ _).
      replace (IZR (K_of P) * cf + (ct - cf)) with (IZR (K_of P - 1) * cf + ct) by (rewrite minus_IZR; ring).
      apply iadd_holds; [apply imul_holds; [apply iz_holds|]|]; apply iconjugate_holds; assumption.
    * intros j Lj. rewrite target_R, (shrunk_alike P away toward k j A) by assumption. unfold column.
      rewrite (target_of_alike _ _ (run_of ms k) _ A). destruct (j =? k)%nat; reflexivity.
  + intros j Lj. rewrite target_R, (shrunk_alike P away toward k j A) by assumption. unfold column. rewrite (target_of_alike _ _ (run_of ms k) _ A).
    destruct (j =? k)%nat; apply in_domain_R; assumption.
  + intros _. rewrite (sum_ext _ _ (fun j => - Q2R (strength (run_of ms k)) * (one_hot k j - / INR K))) by (intros; rewrite (shrunk_alike P away toward k _ A); apply COL).
    rewrite sum_scal, sum_minus, sum_const. unfold one_hot. rewrite (sum_single K k (fun _ => 1)) by assumption.
    field. rewrite KR. lra.
- intros y Y. specialize (Y NN).
  set (pts := pt (samples P) (weight P) (all_samples P)).
  rewrite (sum_ext K _ (fun j => sum K (fun k => - (pts k * Q2R (strength (run_of ms k))) * (one_hot k j - / INR K) * y k) ^ 2)).
  2:{ intros j _. f_equal. apply sum_ext; intros k _. rewrite COL. ring. }
  apply (frame_slack K (fun k => pts k * Q2R (strength (run_of ms k))) (fun k => Q2R (unit_square P (run_of ms k))) y); try assumption.
  + intros k L. specialize (C' _ (run_of_lt ms k MP L)). apply andb_prop in C' as [C' _]. apply andb_prop in C' as [Q0 _].
    apply Qle_R in Q0. rewrite Q2R_0 in Q0. apply Rmult_le_pos; [apply share_ge0; assumption|assumption].
  + intros k L. specialize (C' _ (run_of_lt ms k MP L)). apply andb_prop in C' as [_ B]. apply Qle_R in B.
    unfold products in B. rewrite !Q2R_mult, !Q2R_IZR, minus_IZR, <- KR in B. unfold pts.
    rewrite share_R by assumption. cbv beta. lra.
- exact V.
Qed.
End Diagonal.

(* -- orbits of alike classes, dense with orbits of one class: v_kj = 2^e x_kj ---------------------------------------------- *)

Record orbit_proof := OrbitProof {
  exponents : list Z; columns : list (list Z); owns : list Z; radii : list Z;
  multiplier : list (list Z); factor : list (list Z) }.   (* the last two are lower triangles, or empty *)

Section Orbit.
Variables (prec : precision) (P : coded) (D : orbit_proof) (spent : dyadic * dyadic) (x : dyadic).
Notation ms := (multiplicities P).
Notation K := (classes P).
Notation l := (code_of P).
Definition x_of r s := nth s (nth r (columns D) []) 0%Z.
Definition o_of r := nth r (owns D) 0%Z.
Definition r_of r := nth r (radii D) 0%Z.
Definition tau_of g h := nth (Nat.min g h) (nth (Nat.max g h) (multiplier D) []) 0%Z.
Definition c_of g i := nth i (nth g (factor D) []) 0%Z.
(* for a free bias integers are those of omega_k n_k v_k *)
Definition unit_of r : Q := (rational (1%Z, nth r (exponents D) 0%Z)
  * match bias_of P with FreeBias => / (weight_of P r * inject_Z (count P r)) | _ => 1 end)%Q.
Definition entry_at r s : Q := (inject_Z (x_of r s) * unit_of r)%Q.
Definition own_at r : Q := (inject_Z (o_of r) * unit_of r)%Q.
Definition entries r own s := entry_of P entry_at own_at r own s.
Definition orbit_conjugate r : I.type :=
  icolumn prec ms r (fun own s => iconjugate prec l own (target_of P r s own) (entries r own s)).
Definition unscaled r : Q :=
  (qsum (length ms) (fun s => inject_Z (others ms r s * x_of r s) / scale_of l s) + inject_Z (o_of r) / scale_of l r)%Q.
Definition width := length ms.
Definition orbit_E := E ms x_of tau_of o_of r_of width c_of.
(* the lower triangle of E, each entry once *)
Definition triangle : list (list Z) :=
  let zs := map (fun g => map (z ms x_of o_of g) (seq 0 (length ms))) (seq 0 (length ms)) in
  map (fun g =>
    let weighed := map (fun s => (m ms s * z ms x_of o_of g s)%Z) (seq 0 (length ms)) in
    map (fun h => ((if (h =? g)%nat then m ms g * r_of g + m ms g * tau_of g g else 0) - m ms g * m ms h * tau_of g h
      - dot weighed (nth h zs []) - dot (nth g (factor D) []) (nth h (factor D) []))%Z) (seq 0 (S g))) (seq 0 (length ms)).
Definition entry_in (t : list (list Z)) (g h : nat) : Z := nth (Nat.min g h) (nth (Nat.max g h) t []) 0%Z.
Definition dominated : bool :=
  all (length ms) (fun g => (length (nth g (factor D) []) <=? width)%nat)
  && (let t := triangle in all (length ms) (fun r =>
       (zsum (length ms) (fun h => if (h =? r)%nat then 0 else defect (nonnegative P) (entry_in t r h)) <=? entry_in t r r)%Z)).
Definition orbit_check : bool :=
  valid P && spending spent && bias_fits P entry_at own_at
  && forallb (forallb (Z.leb 0)) (multiplier D)
  && (if nonnegative P then true else match multiplier D with [] => true | _ => false end)
  && all (length ms) (fun r =>
       (if tied l then Qeq_bool (unscaled r) 0 else true)
       && (if (count P r =? 0)%Z then true else
           all (length ms) (fun s => if (others ms r s =? 0)%Z then true else in_domain l false (target_of P r s false) (entries r false s))
           && in_domain l true (target_of P r r true) (entries r true r))
       && (let y := (share P r * unit_of r)%Q in Qle_bool 0 (unit_of r) && Qle_bool (inject_Z (r_of r) * (y * y)) (products P spent * unit_square P r))
       && (if (2 <=? m ms r)%Z then (B x_of o_of r ^ 2 <=? r_of r + tau_of r r)%Z else true))
  &&& dominated
  &&& at_least prec (rational x) (isub prec (isub prec (value P prec orbit_conjugate) (iq prec (price P spent - shift_value P entry_at own_at))) (bias_price P entry_at own_at prec)).

Lemma tau_of_sym g h : tau_of g h = tau_of h g.
Proof. unfold tau_of. rewrite Nat.min_comm, Nat.max_comm. reflexivity. Qed.

Lemma orbit_E_sym g h : orbit_E g h = orbit_E h g.
Proof. apply E_sym, tau_of_sym. Qed.

Lemma triangle_entry g h : (g < length ms)%nat -> (h < length ms)%nat ->
  (forall i, (i < length ms)%nat -> (length (nth i (factor D) []) <= width)%nat) -> entry_in triangle g h = orbit_E g h.
Proof.
intros Lg Lh W. unfold entry_in. assert (E : forall a b, (b <= a)%nat -> (a < length ms)%nat -> nth b (nth a triangle []) 0%Z = orbit_E a b).
{ intros a b L La. unfold triangle. cbv zeta. rewrite nth_map_seq by assumption. rewrite nth_map_seq by lia.
  unfold orbit_E, E, width. rewrite nth_map_seq by lia.
  rewrite (dot_zsum _ (length ms)) by (rewrite map_length, seq_length; lia). rewrite (dot_zsum _ (length ms)) by (apply W; assumption).
  f_equal. f_equal. apply zsum_ext; intros i Li. rewrite !nth_map_seq by assumption. reflexivity. }
destruct (Nat.le_ge_cases h g) as [L|L].
- rewrite Nat.min_r, Nat.max_l by assumption. apply E; assumption.
- rewrite Nat.min_l, Nat.max_r by assumption. rewrite E by assumption. apply orbit_E_sym.
Qed.

Lemma dominated_E : dominated = true -> forall r, (r < length ms)%nat ->
  (zsum (length ms) (fun h => if (h =? r)%nat then 0 else defect (nonnegative P) (orbit_E r h)) <= orbit_E r r)%Z.
Proof.
intros H r L. apply andb_prop in H as [W H]. pose proof (all_true _ _ W) as W'. pose proof (all_true _ _ H r L) as H'. cbv beta zeta in W', H'.
assert (WL : forall i, (i < length ms)%nat -> (length (nth i (factor D) []) <= width)%nat) by (intros i Li; apply Nat.leb_le, W'; assumption).
apply Z.leb_le in H'. rewrite triangle_entry in H' by assumption. rewrite <- (zsum_ext (length ms) (fun h => if (h =? r)%nat then 0%Z else defect (nonnegative P) (entry_in triangle r h))); [exact H'|].
intros h Lh. destruct (h =? r)%nat; [reflexivity|]. rewrite triangle_entry by assumption. reflexivity.
Qed.

Lemma tau_of_ge0 : forallb (forallb (Z.leb 0)) (multiplier D) = true -> forall g h, (0 <= tau_of g h)%Z.
Proof.
intros H g h. unfold tau_of. rewrite forallb_forall in H. destruct (nth_in_or_default (Nat.max g h) (multiplier D) []) as [I| ->].
- specialize (H _ I). rewrite forallb_forall in H.
  destruct (nth_in_or_default (Nat.min g h) (nth (Nat.max g h) (multiplier D) []) 0%Z) as [J| ->]; [apply Z.leb_le, H, J|lia].
- destruct (Nat.min g h); simpl; lia.
Qed.

Theorem orbit_sound : orbit_check = true -> lower_bound P x.
Proof.
unfold orbit_check. intros H. apply lazy_prop in H as [H V]. apply lazy_prop in H as [H DMN]. apply andb_prop in H as [H C]. apply andb_prop in H as [H TF].
apply andb_prop in H as [H T0]. apply andb_prop in H as [H BF]. apply andb_prop in H as [ok SP]. pose proof (all_true _ _ C) as C'. cbv beta in C'. clear C.
pose proof (ms_pos P ok) as MP.
assert (C1 : forall r, (r < length ms)%nat ->
  (tied l = true -> Q2R (unscaled r) = 0)
  /\ ((0 < count P r)%Z -> (forall s, (s < length ms)%nat -> others ms r s <> 0%Z -> in_domain l false (target_of P r s false) (entries r false s) = true)
       /\ in_domain l true (target_of P r r true) (entries r true r) = true)
  /\ (IZR (r_of r) * (Q2R (share P r) * Q2R (unit_of r)) ^ 2 <= Q2R (decay_w P spent) * Q2R (decay_h P spent) * Q2R (unit_square P r)
      /\ 0 <= Q2R (unit_of r))
  /\ ((2 <= m ms r)%Z -> (B x_of o_of r ^ 2 <= r_of r + tau_of r r)%Z)
  /\ (zsum (length ms) (fun h => if (h =? r)%nat then 0 else defect (nonnegative P) (orbit_E r h)) <= orbit_E r r)%Z).
{ intros r L. specialize (C' r L). apply andb_prop in C' as [C' C4].
  apply andb_prop in C' as [C' C3]. apply andb_prop in C' as [C1 C2]. repeat split.
  - intros T. rewrite T in C1. apply Qeq_bool_iff, Qeq_eqR in C1. rewrite C1. apply Q2R_0.
  - destruct (Z.eqb_spec (count P r) 0); [lia|]. apply andb_prop in C2 as [C2 _]. intros s Ls N.
    pose proof (all_true _ _ C2 s Ls) as X. cbv beta in X. destruct (Z.eqb_spec (others ms r s) 0); [contradiction|exact X].
  - destruct (Z.eqb_spec (count P r) 0); [lia|]. apply andb_prop in C2 as [_ C2]. exact C2.
  - cbv zeta in C3. apply andb_prop in C3 as [_ C3]. apply Qle_R in C3. unfold products in C3. rewrite !Q2R_mult, !Q2R_IZR in C3. lra.
  - cbv zeta in C3. apply andb_prop in C3 as [C3 _]. apply Qle_R in C3. rewrite Q2R_0 in C3. exact C3.
  - intros M. destruct (Z.leb_spec 2 (m ms r)); [apply Z.leb_le, C4|lia].
  - apply dominated_E; assumption. }
apply (lower_by_columns P ok entry_at own_at spent prec orbit_conjugate x); [|exact SP|exact BF| |].
- intros k L N. pose proof (run_of_lt ms k MP L) as Lr. destruct (C1 _ Lr) as [CT [CD _]]. specialize (CD N) as [CD CO].
  assert (DOM : forall own s, (s < length ms)%nat -> (own = true -> s = run_of ms k) ->
     (own = false -> others ms (run_of ms k) s <> 0%Z) -> in_domain l own (target_of P (run_of ms k) s own) (entries (run_of ms k) own s) = true).
  { intros own s Ls O1 O2. destruct own; [rewrite (O1 eq_refl); exact CO|apply CD; auto]. }
  repeat split.
  + unfold conjugate_sum. rewrite (sum_ext _ _ (fun j => (fun own s => conjugate l own (Q2R (target_of P (run_of ms k) s own))
      (Q2R (entries (run_of ms k) own s))) (j =? k)%nat (run_of ms j))).
    * apply (icolumn_holds prec ms k (fun own s => iconjugate prec l own (target_of P (run_of ms k) s own) (entries (run_of ms k) own s))
        (fun own s => conjugate l own (Q2R (target_of P (run_of ms k) s own)) (Q2R (entries (run_of ms k) own s))) MP L).
      intros own s Ls O1 O2. apply iconjugate_holds, DOM; assumption.
    * intros j Lj. rewrite target_R, column_entry by assumption. reflexivity.
  + intros j Lj. rewrite target_R, column_entry by assumption. apply in_domain_R, DOM.
    * apply run_of_lt; assumption.
    * destruct (Nat.eqb_spec j k) as [->|]; [reflexivity|discriminate].
    * intros E0. assert (NE : j <> k) by (destruct (Nat.eqb_spec j k); [discriminate|assumption]).
      unfold others. destruct (Nat.eqb_spec (run_of ms j) (run_of ms k)) as [ER|NR].
      -- (* two classes of one run *)
         intros Z1. pose proof (within_one ms (run_of ms k) MP Lr) as W. unfold within in W.
         assert (G : 2 <= size ms (run_of ms k)).
         { rewrite <- W. apply Rle_trans with (sum (Z.to_nat (total ms)) (fun i => (if (i =? k)%nat then 1 else 0) + (if (i =? j)%nat then 1 else 0))).
           - rewrite sum_plus, (sum_single _ k (fun _ => 1)), (sum_single _ j (fun _ => 1)) by assumption. lra.
           - apply sum_le; intros i _. destruct (Nat.eqb_spec i k) as [Ek|Ek]; destruct (Nat.eqb_spec i j) as [Ej|Ej].
             + exfalso. lia.
             + rewrite Ek, Nat.eqb_refl. lra.
             + rewrite Ej, ER, Nat.eqb_refl. lra.
             + destruct (run_of ms i =? run_of ms k)%nat; lra. }
         unfold size in G. apply le_IZR in G. rewrite ER in Z1. lia.
      -- pose proof (size_pos ms (run_of ms j) MP (run_of_lt ms j MP Lj)) as G. unfold size in G. apply le_IZR in G. lia.
  + intros T. specialize (CT T).
    rewrite (sum_ext _ _ (fun j => if (j =? k)%nat then Q2R (entries (run_of ms k) true (run_of ms k)) else Q2R (entries (run_of ms k) false (run_of ms j)))).
    2:{ intros j Lj. rewrite column_entry by assumption. destruct (Nat.eqb_spec j k) as [->|]; reflexivity. }
    rewrite sum_others by assumption. rewrite classes_K, (sum_classes ms (fun s => Q2R (entries (run_of ms k) false s)) MP).
    assert (EN : forall own s, Q2R (entries (run_of ms k) own s)
      = IZR (if own then o_of (run_of ms k) else x_of (run_of ms k) s) * Q2R (unit_of (run_of ms k)) * Q2R (/ scale_of l s)).
    { intros own s. unfold entries, entry_of, entry_at, own_at. unfold Qdiv. destruct own; rewrite !Q2R_mult, Q2R_IZR; reflexivity. }
    rewrite !EN. rewrite (sum_ext _ _ (fun s => (IZR (others ms (run_of ms k) s * x_of (run_of ms k) s) * Q2R (/ scale_of l s)
      + (if (s =? run_of ms k)%nat then IZR (x_of (run_of ms k) s) * Q2R (/ scale_of l s) else 0)) * Q2R (unit_of (run_of ms k)))).
    * rewrite sum_scal_r, sum_plus, (sum_single _ (run_of ms k) (fun s => IZR (x_of (run_of ms k) s) * Q2R (/ scale_of l s))) by assumption.
      unfold unscaled in CT. rewrite Q2R_plus, qsum_R in CT.
      rewrite (sum_ext _ _ (fun s => IZR (others ms (run_of ms k) s * x_of (run_of ms k) s) * Q2R (/ scale_of l s))) in CT
        by (intros; unfold Qdiv; rewrite Q2R_mult, Q2R_IZR; reflexivity).
      unfold Qdiv in CT. rewrite Q2R_mult, Q2R_IZR in CT. set (S1 := sum _ _) in *. set (u := Q2R (unit_of _)).
      replace S1 with (- (IZR (o_of (run_of ms k)) * Q2R (/ scale_of l (run_of ms k)))) by lra. ring.
    * intros s _. rewrite EN, mult_IZR. unfold others, size. rewrite minus_IZR. destruct (s =? _)%nat; ring.
- intros y Y. set (pts := pt (samples P) (weight P) (all_samples P)).
  set (yy := fun k => if (k <? K)%nat then pts k * Q2R (unit_of (run_of ms k)) * y k else 0).
  assert (YY : nonnegative P = true -> forall k, 0 <= yy k).
  { intros NN k. unfold yy. destruct (Nat.ltb_spec k K) as [L|]; [|lra]. apply Rmult_le_pos; [|apply Y; assumption].
    apply Rmult_le_pos; [apply share_ge0; assumption|]. apply (C1 _ (run_of_lt ms k MP L)). }
  assert (TFree : nonnegative P = false -> forall g h, tau_of g h = 0%Z).
  { intros NN g h. rewrite NN in TF. unfold tau_of. destruct (multiplier D); [|discriminate].
    destruct (Nat.max g h), (Nat.min g h); reflexivity. }
  pose proof (orbits ms (nonnegative P) x_of tau_of o_of r_of width c_of MP tau_of_sym (tau_of_ge0 T0) TFree
    (fun g L => proj1 (proj2 (proj2 (proj2 (C1 g L))))) (fun g L => proj2 (proj2 (proj2 (proj2 (C1 g L))))) yy YY) as O.
  rewrite <- classes_K in O.
  rewrite (sum_ext K (fun j => sum K (fun k => pts k * column P entry_at own_at k j * y k) ^ 2)
    (fun j => sum K (fun k => IZR (Slack.V ms x_of o_of k j) * yy k) ^ 2)).
  2:{ intros j _. f_equal. apply sum_ext; intros k L. unfold yy, column, Slack.V, entry_at, own_at.
      destruct (Nat.ltb_spec k K); [|lia]. destruct (j =? k)%nat; rewrite Q2R_mult, Q2R_IZR; ring. }
  apply Rle_trans with (1 := O). rewrite <- sum_scal. apply sum_le; intros k L. unfold yy. destruct (Nat.ltb_spec k K); [|lia].
  destruct (C1 _ (run_of_lt ms k MP L)) as [_ [_ [[C3 _] _]]]. unfold pts. rewrite share_R by assumption.
  pose proof (pow2_ge_0 (y k)) as Y2. apply (Rmult_le_compat_r (y k ^ 2)) in C3; [|assumption].
  set (s := Q2R (share P _)) in *; set (u := Q2R (unit_of _)) in *. set (rr := IZR (r_of _)) in *.
  replace (rr * (s * u * y k) ^ 2) with (rr * (s * u) ^ 2 * y k ^ 2) by ring. lra.
- exact V.
Qed.
End Orbit.
