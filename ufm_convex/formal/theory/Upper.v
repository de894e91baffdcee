(* Upper bounds that a computation proves: witnesses whose samples lie on their class means. *)
From Coq Require Import Reals List ZArith QArith Qreals Lia Lra FunctionalExtensionality.
From UFM Require Import Model Sums Duality Losses Compute Lower Logits Rows.
Import ListNotations.
Open Scope R_scope.

Definition upper_bound (P : problem) (x : dyadic) : Prop :=
  exists d W H b, admissible P d W H b /\ objective P d W H b <= real x.

(* -- the objective where samples lie on their class means ------------------------------------------------------------------ *)

Lemma objective_of_means (P : coded) d W (Hb : nat -> nat -> R) (bb : nat -> R) : valid P = true ->
  objective P d W (fun k _ => Hb k) bb
  = sum (classes P) (fun k => Q2R (share P (run_of (multiplicities P) k)) * loss_value (code_of P) (classes P) k (logits d W (Hb k) bb))
    + match sizes_of P with
      | Decays lw lh => real lw / 2 * W_square P d W
          + real lh / 2 * sum (classes P) (fun k => IZR (count P (run_of (multiplicities P) k)) * square d (Hb k))
      | Radii _ _ => 0
      end
    + match bias_of P with PenalisedBias lb => real lb / 2 * square (classes P) bb | _ => 0 end.
Proof.
intros ok. unfold objective. cbv zeta. rewrite (code_fits P). f_equal. f_equal.
- unfold Rdiv. rewrite <- sum_scal_r. apply sum_ext; intros k L. rewrite sum_const, <- share_R by assumption. unfold pt, Rdiv. ring.
- destruct (sizes_of P); [|reflexivity]. f_equal. f_equal. apply sum_ext; intros k L. unfold H_squares. rewrite sum_const, samples_R by assumption. reflexivity.
Qed.

Lemma means_fit (P : coded) d (W Hb : nat -> nat -> R) ew eh : valid P = true -> sizes_of P = Radii ew eh ->
  W_square P d W <= INR (classes P) * real ew -> sum (classes P) (fun k => square d (Hb k)) <= INR (classes P) * real eh ->
  W_square P d W <= INR (classes P) * real ew
  /\ sum (classes P) (fun k => H_squares P d (fun k _ => Hb k) k / INR (samples P k)) <= INR (classes P) * real eh.
Proof.
intros ok E AW AH. split; [exact AW|]. destruct (valid_parts P ok) as [_ [_ [D _]]]. rewrite E in D.
apply Rle_trans with (2 := AH). right. apply sum_ext; intros k L. unfold H_squares. rewrite sum_const.
assert (P0 : 0 < INR (samples P k)).
{ rewrite samples_R by assumption. apply IZR_lt, D, run_of_lt; [apply ms_pos; assumption|exact L]. }
field. lra.
Qed.

(* -- a frame: h_k = eta_k e_k and W = (I - 11'/K) Diag(omega), the last coordinates left out where eta is 0 ------------- *)

Section Frame.
Variables (prec : precision) (P : coded) (eta omega : list dyadic) (kept : nat) (x : dyadic).
Notation ms := (multiplicities P).
Notation K := (classes P).
Notation l := (code_of P).
Definition eta_of r := rational (nth r eta (0, 0)%Z).
Definition omega_of r := rational (nth r omega (0, 0)%Z).
Definition frame_dim : Z := total (firstn kept ms).
Definition frame_column r : logit_column :=
  let pull := (eta_of r * omega_of r * over (K_of P))%Q in
  ([((K_of P - 1)%Z, (target_of P r r false, (- pull)%Q))], (target_of P r r true, (inject_Z (K_of P - 1) * pull)%Q)).
Definition frame_penalty r : I.type :=
  let w := iq prec (omega_of r) in let h := iq prec (eta_of r) in
  match sizes_of P with
  | Decays lw lh =>
      iadd prec (imul prec (iq prec (rational lw * (1 # 2) * inject_Z (K_of P - 1) * over (K_of P))) (imul prec w w))
                (imul prec (iq prec (rational lh * (1 # 2) * inject_Z (count P r))) (imul prec h h))
  | Radii _ _ => iz prec 0
  end.
Definition frame_value : I.type :=
  isum prec (length ms) (fun r => imul prec (iz prec (nth r ms 0%Z))
    (iadd prec (imul prec (iq prec (share P r)) (iloss prec l (frame_column r))) (frame_penalty r))).
Definition frame_fits : bool :=
  match sizes_of P with
  | Decays _ _ => true
  | Radii ew eh =>
      Qle_bool (qsum (length ms) (fun r => inject_Z (nth r ms 0%Z) * ((inject_Z (K_of P - 1) * over (K_of P)) * (omega_of r * omega_of r)))%Q)
               (inject_Z (K_of P) * rational ew)
      && Qle_bool (qsum (length ms) (fun r => inject_Z (nth r ms 0%Z) * (eta_of r * eta_of r))%Q) (inject_Z (K_of P) * rational eh)
  end.
Definition dimension_fits (d : Z) : bool := match feature_dim P with None => true | Some n => (d <=? n)%Z end.
Definition frame_check : bool :=
  valid P && alike l && dimension_fits frame_dim && frame_fits
  && all (length ms) (fun r => Qle_bool 0 (eta_of r) && Qle_bool 0 (omega_of r) && (if (r <? kept)%nat then true else Qle_bool (eta_of r) 0))
  &&& at_most prec (rational x) frame_value.

Lemma kept_runs k : positive_runs ms -> (Z.to_nat frame_dim <= k)%nat -> (k < K)%nat -> (kept <= run_of ms k)%nat.
Proof.
unfold frame_dim. rewrite classes_K. intros MP. revert kept k. induction MP as [|m ms' M MP IH]; intros t k L LK; [simpl in LK; lia|].
assert (T := total_ge0 ms' MP). destruct t as [|t]; [lia|].
cbn [firstn total fold_right run_of] in *. fold (total ms') in *. fold (total (firstn t ms')) in *.
assert (T' : (0 <= total (firstn t ms'))%Z).
{ apply total_ge0. unfold positive_runs in *. rewrite Forall_forall in *. intros z I. apply MP.
  rewrite <- (firstn_skipn t ms'). apply in_or_app. left; exact I. }
destruct (Nat.ltb_spec k (Z.to_nat m)); [lia|]. apply le_n_S, IH; lia.
Qed.

Lemma total_firstn : positive_runs ms -> (Z.to_nat frame_dim <= K)%nat.
Proof.
unfold frame_dim. rewrite classes_K. intros MP. rewrite <- (firstn_skipn kept ms) at 2.
assert (A : total (firstn kept ms ++ skipn kept ms) = (total (firstn kept ms) + total (skipn kept ms))%Z).
{ generalize (firstn kept ms) (skipn kept ms). intros a c. induction a as [|y a IH]; cbn [app total fold_right]; [reflexivity|].
  fold (total a) (total (a ++ c)). lia. }
rewrite A. assert (0 <= total (skipn kept ms))%Z.
{ apply total_ge0. unfold positive_runs in *. rewrite Forall_forall in *. intros z I. apply MP.
  rewrite <- (firstn_skipn kept ms). apply in_or_app. right; exact I. }
lia.
Qed.

Theorem frame_sound : frame_check = true -> upper_bound P x.
Proof.
unfold frame_check. intros H. apply lazy_prop in H as [H V]. apply andb_prop in H as [H C]. apply andb_prop in H as [H FIT]. apply andb_prop in H as [H FD].
apply andb_prop in H as [ok A]. pose proof (all_true _ _ C) as C'. cbv beta in C'. clear C.
pose proof (ms_pos P ok) as MP. pose proof (K_pos P ok) as K0. pose proof (INR_K P ok) as KR. pose proof (K_of_pos P ok) as KZ.
assert (KR0 : 0 < IZR (K_of P)) by (apply IZR_lt; assumption).
set (d := Z.to_nat frame_dim). set (h := fun k => Q2R (eta_of (run_of ms k))). set (w := fun k => Q2R (omega_of (run_of ms k))).
set (W := fun j a => (one_hot a j - / INR K) * w a). set (Hb := fun k a => if (a =? k)%nat then (if (k <? K)%nat then h k else 0) else 0).
assert (ETA : forall k, (k < K)%nat -> 0 <= h k /\ ((d <= k)%nat -> h k = 0)).
{ intros k L. specialize (C' _ (run_of_lt ms k MP L)). apply andb_prop in C' as [E1 E2].
  apply andb_prop in E1 as [E1 _]. apply Qle_R in E1. rewrite Q2R_0 in E1. split; [exact E1|]. intros D. pose proof (kept_runs k MP D L) as R. destruct (Nat.ltb_spec (run_of ms k) kept); [lia|].
  apply Qle_R in E2. rewrite Q2R_0 in E2. unfold h. lra. }
set (b0 := fun _ : nat => 0).
assert (LOG : forall k j, (k < K)%nat -> logits d W (Hb k) b0 j = (one_hot k j - / INR K) * (w k * h k)).
{ intros k j L. unfold logits, b0. rewrite Rplus_0_r. rewrite (sum_ext _ _ (fun a => if (a =? k)%nat then W j a * h k else 0)).
  2:{ intros a _. unfold Hb. destruct (Nat.ltb_spec k K); [|lia]. destruct (a =? k)%nat; ring. }
  destruct (Nat.lt_ge_cases k d) as [Lk|Lk].
  - rewrite sum_single by assumption. unfold W. ring.
  - rewrite (proj2 (ETA k L) Lk). rewrite (sum_ext _ _ (fun _ => 0)); [rewrite sum_0; ring|]. intros a _. destruct (a =? k)%nat; ring. }
assert (DK : (d <= K)%nat) by (apply total_firstn; assumption).
assert (SW : sum K (fun j => sum d (fun a => W j a ^ 2)) <= sum K (fun k => (IZR (K_of P - 1) * / IZR (K_of P)) * (w k ^ 2))).
{ rewrite sum_swap. rewrite (sum_ext d _ (fun a => (IZR (K_of P - 1) * / IZR (K_of P)) * w a ^ 2)).
  - replace K with (d + (K - d))%nat by lia. rewrite sum_add. rewrite <- Rplus_0_r at 1. apply Rplus_le_compat_l.
    apply sum_ge0; intros i _. apply Rmult_le_pos; [|apply pow2_ge_0]. apply Rmult_le_pos; [apply IZR_le; lia|left; apply Rinv_0_lt_compat; assumption].
  - intros a La. unfold W. rewrite (sum_ext K _ (fun j => w a ^ 2 * (if (j =? a)%nat then (1 - / INR K) ^ 2 else (/ INR K) ^ 2))).
    + rewrite sum_scal, (sum_others K a (fun _ => (1 - / INR K) ^ 2) (fun _ => (/ INR K) ^ 2)) by lia. rewrite sum_const, KR, minus_IZR. field. lra.
    + intros j _. unfold one_hot. destruct (j =? a)%nat; ring. }
assert (SH : forall k, (k < K)%nat -> sum d (fun a => Hb k a ^ 2) <= h k ^ 2).
{ intros k L. unfold Hb. destruct (Nat.ltb_spec k K); [|lia]. rewrite (sum_ext d _ (fun a => if (a =? k)%nat then h k ^ 2 else 0)).
  - destruct (Nat.lt_ge_cases k d) as [Lk|Lk]; [rewrite (sum_single d k (fun _ => h k ^ 2) Lk); lra|].
    rewrite (sum_ext _ _ (fun _ => 0)); [rewrite sum_0; apply pow2_ge_0|]. intros a La. destruct (Nat.eqb_spec a k); [lia|reflexivity].
  - intros a _. destruct (a =? k)%nat; ring. }
change (W_square P d W <= sum K (fun k => (IZR (K_of P - 1) * / IZR (K_of P)) * (w k ^ 2))) in SW.
assert (SH' : forall k, (k < K)%nat -> square d (Hb k) <= h k ^ 2) by exact SH.
exists d, W, (fun k _ => Hb k), b0. split.
{ split; [|split; [|split]].
  - intros _ k i a. unfold Hb. destruct (a =? k)%nat; [|lra]. destruct (Nat.ltb_spec k K); [apply ETA; assumption|lra].
  - unfold dimension_fits in FD. destruct (feature_dim P); [|exact Logic.I]. apply Z.leb_le in FD.
    assert (0 <= frame_dim)%Z.
    { apply total_ge0. unfold positive_runs in *. rewrite Forall_forall in *. intros y I. apply MP.
      rewrite <- (firstn_skipn kept ms). apply in_or_app. left; exact I. }
    unfold d. lia.
  - unfold frame_fits in FIT. destruct (sizes_of P) as [|ew eh] eqn:SZ; [exact Logic.I|]. apply andb_prop in FIT as [FW FH].
    apply Qle_R in FW, FH. rewrite qsum_R, Q2R_mult, Q2R_IZR, rational_real, <- KR in FW, FH. apply means_fit; try assumption.
    + apply Rle_trans with (1 := SW), Rle_trans with (2 := FW). right.
      transitivity (sum K (fun k => (fun r => IZR (K_of P - 1) * / IZR (K_of P) * Q2R (omega_of r) ^ 2) (run_of ms k))); [reflexivity|].
      rewrite classes_K, (sum_classes ms (fun r => IZR (K_of P - 1) * / IZR (K_of P) * Q2R (omega_of r) ^ 2) MP).
      apply sum_ext; intros r _. rewrite !Q2R_mult, !Q2R_IZR, over_R by assumption. unfold size. ring.
    + apply Rle_trans with (sum K (fun k => h k ^ 2)); [apply sum_le; exact SH'|]. apply Rle_trans with (2 := FH). right.
      transitivity (sum K (fun k => (fun r => Q2R (eta_of r) ^ 2) (run_of ms k))); [reflexivity|].
      rewrite classes_K, (sum_classes ms (fun r => Q2R (eta_of r) ^ 2) MP).
      apply sum_ext; intros r _. rewrite !Q2R_mult, Q2R_IZR. unfold size. ring.
  - destruct (bias_of P); try exact Logic.I. reflexivity. }
rewrite objective_of_means by assumption. destruct (valid_parts P ok) as [_ [FF [LWH _]]].
assert (ST : forall k, (k < K)%nat -> stands_for (frame_column (run_of ms k)) K k (target l K k) (logits d W (Hb k) b0)).
{ intros k L. assert (Zo : forall j, j <> k -> logits d W (Hb k) b0 j = Q2R (- (eta_of (run_of ms k) * omega_of (run_of ms k) * over (K_of P)))).
  { intros j N. rewrite LOG by assumption. unfold one_hot. destruct (Nat.eqb_spec j k); [contradiction|]. rewrite Q2R_opp, !Q2R_mult, over_R, KR by assumption.
    unfold h, w. ring. }
  assert (Zk : logits d W (Hb k) b0 k = Q2R (inject_Z (K_of P - 1) * (eta_of (run_of ms k) * omega_of (run_of ms k) * over (K_of P)))).
  { rewrite LOG by assumption. unfold one_hot. rewrite Nat.eqb_refl, !Q2R_mult, Q2R_IZR, over_R, KR, minus_IZR by assumption. unfold h, w. field. lra. }
  split; [|split].
  - intros f. unfold column_sum, frame_column. cbn [fst snd weighted].
    rewrite (sum_ext K _ (fun j => if (j =? k)%nat then f true (Q2R (target_of P (run_of ms k) (run_of ms k) true)) (logits d W (Hb k) b0 k)
      else f false (Q2R (target_of P (run_of ms k) (run_of ms k) false)) (Q2R (- (eta_of (run_of ms k) * omega_of (run_of ms k) * over (K_of P)))))).
    + rewrite (sum_others K k (fun _ => f true _ _) (fun _ => f false _ _) L), sum_const, KR, Zk, minus_IZR. ring.
    + intros j Lj. rewrite target_R by assumption.
      assert (TA : forall own, target_of P (run_of ms k) (run_of ms j) own = target_of P (run_of ms k) (run_of ms k) own).
      { intros own. unfold target_of. unfold alike in A. destruct l; try reflexivity. discriminate. }
      rewrite TA. destruct (Nat.eqb_spec j k) as [->|N]; [reflexivity|]. rewrite Zo by assumption. reflexivity.
  - exact Zk.
  - intros j _ N. eexists _, _. split; [left; reflexivity|]. cbn [snd]. apply Zo; assumption. }
assert (FED : forall k, fed l k (logits d W (Hb k) b0) = logits d W (Hb k) b0).
{ intros k. apply functional_extensionality; intros j. apply fed_alike, A. }
set (bound := fun r => loss_bound l (frame_column r)).
assert (LV : forall k, (k < K)%nat -> holds (iloss prec l (frame_column (run_of ms k))) (bound (run_of ms k))
   /\ loss_value l K k (logits d W (Hb k) b0) <= bound (run_of ms k)) by (intros k L; rewrite plain, (FED k); destruct (iloss_bound prec l _ K k _ L (ST k L)) as [Y1 [Y2 _]]; split; assumption).
assert (HALF : Q2R (1 # 2) = / 2) by (unfold Q2R; cbn; lra).
set (penalty := fun r => match sizes_of P with
  | Decays lw lh => Q2R (rational lw * (1 # 2) * inject_Z (K_of P - 1) * over (K_of P)) * (Q2R (omega_of r) * Q2R (omega_of r))
     + Q2R (rational lh * (1 # 2) * inject_Z (count P r)) * (Q2R (eta_of r) * Q2R (eta_of r))
  | Radii _ _ => 0 end).
set (term := fun r => Q2R (share P r) * bound r + penalty r).
assert (BIAS : match bias_of P with PenalisedBias lb => real lb / 2 * square K b0 | _ => 0 end = 0).
{ destruct (bias_of P); try reflexivity. unfold square, b0. rewrite (sum_ext K _ (fun _ => 0)), sum_0 by (intros; ring). ring. }
rewrite BIAS, Rplus_0_r. apply Rle_trans with (sum K (fun k => term (run_of ms k))).
- unfold term. rewrite sum_plus. apply Rplus_le_compat.
  + apply sum_le; intros k L. apply Rmult_le_compat_l; [rewrite <- share_R by assumption; apply share_ge0; assumption|apply LV; assumption].
  + unfold penalty. destruct (sizes_of P) as [lw lh|]; [|rewrite sum_0; lra]. rewrite sum_plus. apply Rplus_le_compat.
    * apply (Rmult_le_compat_l (real lw / 2)) in SW; [|lra]. apply Rle_trans with (1 := SW). right.
      rewrite <- sum_scal. apply sum_ext; intros k _. rewrite !Q2R_mult, HALF, Q2R_IZR, over_R, rational_real by assumption. unfold w, Rdiv. ring.
    * rewrite <- sum_scal. apply sum_le; intros k L. specialize (SH' k L). rewrite !Q2R_mult, HALF, Q2R_IZR, rational_real. fold (h k).
      destruct (FF _ (run_of_lt ms k MP L)) as [N0 _]. apply IZR_le in N0.
      apply (Rmult_le_compat_l (real lh / 2 * IZR (count P (run_of ms k)))) in SH'; [|apply Rmult_le_pos; lra]. lra.
- rewrite classes_K, (sum_classes ms term MP), <- rational_real. apply at_most_holds with (2 := V). unfold frame_value.
  apply isum_holds; intros r Lr. apply imul_holds; [apply iz_holds|]. unfold term.
  destruct (run_inhabited ms r MP Lr) as [k [L E]].
  apply iadd_holds; [apply imul_holds; [apply iq_holds|]|].
  + rewrite <- E. apply LV. exact L.
  + unfold penalty, frame_penalty. cbv zeta. destruct (sizes_of P); [|apply iz_holds].
    apply iadd_holds; apply imul_holds; try apply imul_holds; apply iq_holds.
Qed.
End Frame.

(* -- any W and class means, written entry by entry: W in units 2^eW, H in units 2^eH ----------------------------------- *)

Section Dense.
Variables (prec : precision) (P : coded) (eW eH eb : Z) (rowsW rowsH : list (list Z)) (bs : list Z) (dim : nat) (x : dyadic).
Notation ms := (multiplicities P).
Notation K := (classes P).
Notation l := (code_of P).
Definition dense_column k : logit_column := column_at P eW eH eb rowsW bs k (nth k rowsH []).
Definition W_total : Q := (inject_Z (zsum K (fun j => squares (nth j rowsW []))) * rational (1%Z, (2 * eW)%Z))%Q.
Definition H_total (weigh : nat -> Z) : Q := (inject_Z (zsum K (fun k => weigh k * squares (nth k rowsH []))%Z) * rational (1%Z, (2 * eH)%Z))%Q.
Definition dense_penalty : Q :=
  (match sizes_of P with
   | Decays lw lh => rational lw * (1 # 2) * W_total + rational lh * (1 # 2) * H_total (fun k => count P (run_of ms k))
   | Radii _ _ => 0
   end + match bias_of P with PenalisedBias lb => rational lb * (1 # 2) * b_total P eb bs | _ => 0 end)%Q.
Definition dense_value : I.type :=
  iadd prec (isum prec K (fun k => if (count P (run_of ms k) =? 0)%Z then iz prec 0
                                   else imul prec (iq prec (share P (run_of ms k))) (iloss prec l (dense_column k))))
    (iq prec dense_penalty).
Definition dense_fits : bool :=
  match sizes_of P with
  | Decays _ _ => true
  | Radii ew eh => Qle_bool W_total (inject_Z (K_of P) * rational ew) && Qle_bool (H_total (fun _ => 1%Z)) (inject_Z (K_of P) * rational eh)
  end && match bias_of P with NoBias => match bs with [] => true | _ => false end | _ => true end.
Definition dense_check : bool :=
  valid P && dimension_fits P (Z.of_nat dim) && dense_fits
  && all K (fun k => (length (nth k rowsW []) =? dim)%nat && (length (nth k rowsH []) =? dim)%nat)
  && (if nonnegative P then forallb (forallb (Z.leb 0)) rowsH else true)
  &&& at_most prec (rational x) dense_value.

Theorem dense_sound : dense_check = true -> upper_bound P x.
Proof.
unfold dense_check. intros H. apply lazy_prop in H as [H V]. apply andb_prop in H as [H NN]. apply andb_prop in H as [H LEN].
apply andb_prop in H as [H FIT]. apply andb_prop in H as [ok FD]. pose proof (all_true _ _ LEN) as LEN'. cbv beta in LEN'. clear LEN.
assert (LW0 : forall k, (k < K)%nat -> length (nth k rowsW []) = dim /\ length (nth k rowsH []) = dim).
{ intros k L. specialize (LEN' k L). apply andb_prop in LEN' as [A B]. split; apply Nat.eqb_eq; assumption. }
pose proof (ms_pos P ok) as MP. pose proof (INR_K P ok) as KR.
set (W := fun j => vector eW (nth j rowsW [])). set (Hb := fun k => vector eH (nth k rowsH [])). set (bb := vector eb bs).
assert (WT : W_square P dim W = Q2R W_total).
{ unfold W_total, W_square. rewrite Q2R_mult, Q2R_IZR, rational_real, zsum_R, <- sum_scal_r. apply sum_ext; intros j L. apply vector_square, LW0; assumption. }
assert (HT : forall weigh, sum K (fun k => IZR (weigh k) * square dim (Hb k)) = Q2R (H_total weigh)).
{ intros weigh. unfold H_total. rewrite Q2R_mult, Q2R_IZR, rational_real, zsum_R, <- sum_scal_r. apply sum_ext; intros k L.
  rewrite mult_IZR, Rmult_assoc. f_equal. apply vector_square, LW0; assumption. }
pose proof (b_square P eb bs : square K bb = _) as BT.
apply andb_prop in FIT as [FIT BF].
exists dim, W, (fun k _ => Hb k), bb. split.
{ split; [|split; [|split]].
  - intros N k i a. rewrite N in NN. unfold Hb. apply vector_ge0.
    rewrite forallb_forall in NN. destruct (nth_in_or_default k rowsH []) as [I| ->]; [|destruct a; simpl; lia].
    specialize (NN _ I). rewrite forallb_forall in NN. destruct (nth_in_or_default a (nth k rowsH []) 0%Z) as [J| ->]; [apply Z.leb_le, NN, J|lia].
  - unfold dimension_fits in FD. destruct (feature_dim P); [apply Z.leb_le, FD|exact Logic.I].
  - destruct (sizes_of P) as [|ew eh] eqn:SZ; [exact Logic.I|]. apply andb_prop in FIT as [FW FH]. apply Qle_R in FW, FH.
    rewrite Q2R_mult, Q2R_IZR, rational_real, <- KR in FW, FH. apply means_fit; try assumption.
    + rewrite WT. exact FW.
    + rewrite <- HT in FH. apply Rle_trans with (2 := FH). right. apply sum_ext; intros; ring.
  - destruct (bias_of P); try exact Logic.I. intros j. unfold bb. destruct bs; [|discriminate]. apply vector_nil. }
rewrite objective_of_means by assumption.
assert (ST : forall k, (k < K)%nat -> stands_for (dense_column k) K k (target l K k) (fed l k (logits dim W (Hb k) bb))).
{ intros k L. apply column_stands; try assumption; [intros j Lj; apply LW0; assumption|apply LW0; assumption]. }
assert (HALF : Q2R (1 # 2) = / 2) by (unfold Q2R; cbn; lra).
set (bound := fun k => loss_bound l (dense_column k)).
apply Rle_trans with (sum K (fun k => if (count P (run_of ms k) =? 0)%Z then 0 else Q2R (share P (run_of ms k)) * bound k) + Q2R dense_penalty).
- rewrite Rplus_assoc. apply Rplus_le_compat.
  + apply sum_le; intros k L. destruct (Z.eqb_spec (count P (run_of ms k)) 0) as [Z0|_].
    * unfold share. rewrite Z0, !Q2R_mult, Q2R_IZR. right; ring.
    * apply Rmult_le_compat_l; [rewrite <- share_R by assumption; apply share_ge0; assumption|]. rewrite plain. apply (iloss_bound prec); [assumption|apply ST; assumption].
  + right. unfold dense_penalty. rewrite Q2R_plus. f_equal.
    * destruct (sizes_of P); [|symmetry; apply Q2R_0]. rewrite Q2R_plus, !(Q2R_mult (_ * _)), !(Q2R_mult (rational _)), HALF, !rational_real, WT, HT. reflexivity.
    * destruct (bias_of P); try (symmetry; apply Q2R_0). rewrite !Q2R_mult, HALF, rational_real, BT. reflexivity.
- rewrite <- rational_real. apply at_most_holds with (2 := V). unfold dense_value. apply iadd_holds; [|apply iq_holds].
  apply isum_holds; intros k L. destruct (count P (run_of ms k) =? 0)%Z; [apply iz_holds|]. apply imul_holds; [apply iq_holds|].
  apply (iloss_bound prec l _ K k _ L (ST k L)).
Qed.
End Dense.
